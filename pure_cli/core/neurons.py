"""Which neurons are meant by ``201,2,341``, ``0-63`` or ``all``."""

import re

import numpy as np

from pure_cli.errors import PureError

LISTED = 8  # neurons in a message
RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def parse_neurons(text: str, count: int, layer: str) -> np.ndarray:
    """Neurons named by numbers, ranges (both ends included) and commas, or ``all``.

    Parameters
    ----------
    text : what the user wrote
    count : neurons that the layer has
    layer : its name, for the message

    Returns
    -------
    (N,) int64, ascending, each once

    Raises
    ------
    PureError
        Text that is no such list, or a number that the layer does not have.
    """
    if text.strip() == "all":
        return np.arange(count)
    found: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = RANGE.fullmatch(part)
        if match is None:
            raise PureError(f"'{part}' is no neuron. Write numbers, ranges or all, as in --neurons 201,2,341 or 0-63.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise PureError(f"The range {part} runs backwards. Write {last}-{first}.")
        if last >= count:
            raise PureError(f"The layer '{layer}' has no neuron {last}. Its {count} neurons are 0 to {count - 1}.")
        found.update(range(first, last + 1))
    if not found:
        raise PureError("No neuron is named. Write numbers, ranges or all, as in --neurons 201,2,341 or 0-63.")
    return np.array(sorted(found), dtype=np.int64)


def choose_neurons(
    text: str | None, there: np.ndarray, count: int, layer: str, lacking: str, command: str
) -> np.ndarray:
    """Those of the neurons that are there which are meant by text; all that are there by None or ``all``.

    Parameters
    ----------
    text, count, layer : as of `parse_neurons`
    there : (M,) int64, ascending
    lacking : what the others do not have, for the message
    command : that gives it to them

    Returns
    -------
    (N,) int64, ascending

    Raises
    ------
    PureError
        One that the layer does not have, or that is not there.
    """
    if text is None or text.strip() == "all":
        return there
    neurons = parse_neurons(text, count, layer)
    missing = np.setdiff1d(neurons, there)
    if len(missing):
        listed = ",".join(map(str, missing[:LISTED].tolist())) + (",…" if len(missing) > LISTED else "")
        raise PureError(
            f"{len(missing)} of the neurons of '{layer}' have no {lacking} yet. "
            f"Run `{command} --layer {layer} --neurons {listed}` first."
        )
    return neurons
