"""Which neurons are meant by ``201,2,341``, ``0-63``, ``201.2``, ``layer4/201.2`` or ``all``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pure_cli.errors import PureError

ALL = "all"
NO_PART = "none"  # in place of the number of a virtual neuron: what belongs to none
LISTED = 8  # neurons in a message
PART = re.compile(
    r"(?:(?:(?P<model>.+)/)?(?P<layer>[^/]+)/)?(?P<first>\d{1,18})(?:-(?P<last>\d{1,18})|\.(?P<number>\d{1,9}))?"
)
HOW = "Write numbers, ranges, addresses or all, as in --neurons 201,2,341 or 0-63, or layer4/201."


@dataclass(frozen=True)
class Address:
    """The address of a neuron, or of a virtual neuron, or of a range of neurons.

    Attributes
    ----------
    first, last : neurons, both included
    number : of the virtual neuron, counted from 1; None for the neuron itself
    layer, model : "" where it does not say
    """

    first: int
    last: int
    number: int | None = None
    layer: str = ""
    model: str = ""

    def __str__(self) -> str:
        neuron = f"{self.first}" if self.last == self.first else f"{self.first}-{self.last}"
        number = "" if self.number is None else f".{self.number}"
        return "/".join(filter(None, (self.model, self.layer, neuron + number)))


def parse_addresses(text: str) -> Iterator[Address]:
    """The parts of a list; none of ``all``.

    Raises
    ------
    PureError
        Text that is no such list.
    """
    if text.strip() == ALL:
        return
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = PART.fullmatch(part)
        if match is None:
            raise PureError(f"'{part}' is no neuron. {HOW}")
        first, last = int(match["first"]), int(match["last"] or match["first"])
        if last < first:
            raise PureError(f"The range {part} runs backwards. Write {last}-{first}.")
        number = int(match["number"]) if match["number"] else None
        if number == 0:
            raise PureError(f"'{part}' is no virtual neuron: they are counted from 1.")
        yield Address(first, last, number, match["layer"] or "", match["model"] or "")


def parse_virtual(text: str, count: int, layer: str) -> dict[int, frozenset[int]]:
    """Neurons, and virtual neurons of them, that a list names in a layer.

    Parameters
    ----------
    text : what the user wrote; what it says of other layers is left out
    count : neurons that the layer has
    layer : its name

    Returns
    -------
    dict by neuron, ascending, with the numbers of its virtual neurons, counted from 1; none where the whole neuron is
    meant

    Raises
    ------
    PureError
        Text that is no such list, a number that the layer does not have, or nothing of this layer.
    """
    if text.strip() == ALL:
        return dict.fromkeys(range(count), frozenset())
    found: dict[int, frozenset[int]] = {}
    addresses = list(parse_addresses(text))
    if not addresses:
        raise PureError(f"No neuron is named. {HOW}")
    for address in addresses:
        if address.layer not in ("", layer):
            continue
        if address.last >= count:
            raise PureError(
                f"The layer '{layer}' has no neuron {address.last}. Its {count} neurons are 0 to {count - 1}."
            )
        for neuron in range(address.first, address.last + 1):
            whole = address.number is None or found.get(neuron) == frozenset()
            found[neuron] = frozenset() if whole else found.get(neuron, frozenset()) | {address.number or 0}
    if not found:
        raise PureError(f"No neuron of '{layer}' is named. {HOW}")
    return dict(sorted(found.items()))


def parse_neurons(text: str, count: int, layer: str) -> np.ndarray:
    """Neurons named by numbers, ranges (both ends included), addresses and commas, or ``all``.

    Parameters
    ----------
    text, count, layer : as of `parse_virtual`

    Returns
    -------
    (N,) int64, ascending, each once

    Raises
    ------
    PureError
        As of `parse_virtual`, or a virtual neuron is named where there are none yet.
    """
    found = parse_virtual(text, count, layer)
    for neuron, numbers in found.items():
        if numbers:
            name = f"{neuron}.{min(numbers)}"
            raise PureError(f"{name} is a virtual neuron. Here whole neurons are meant: write {neuron}.")
    return np.array(list(found), dtype=np.int64)


def choose_neurons(
    text: str | None, there: np.ndarray, count: int, layer: str, lacking: str, command: str, virtual: bool = False
) -> np.ndarray:
    """Those of the neurons that are there which are meant by text; all that are there by None or ``all``.

    Parameters
    ----------
    text, count, layer : as of `parse_neurons`
    there : (M,) int64, ascending
    lacking : what the others do not have, for the message
    command : that gives it to them
    virtual : a virtual neuron stands for its neuron

    Returns
    -------
    (N,) int64, ascending

    Raises
    ------
    PureError
        One that the layer does not have, or that is not there.
    """
    if text is None or text.strip() == ALL:
        return there
    parse = parse_virtual if virtual else parse_neurons
    neurons = np.array(list(parse(text, count, layer)), dtype=np.int64)
    missing = np.setdiff1d(neurons, there)
    if len(missing):
        listed = ",".join(map(str, missing[:LISTED].tolist())) + (",…" if len(missing) > LISTED else "")
        raise PureError(
            f"{len(missing)} of the neurons of '{layer}' have no {lacking} yet. "
            f"Run `{command} --layer {layer} --neurons {listed}` first."
        )
    return neurons


def virtual_of(neuron: int, numbers: frozenset[int] | None, count: int, layer: str) -> list[int]:
    """The virtual neurons of a neuron that are meant, counted from 0.

    Parameters
    ----------
    numbers : that were named, counted from 1; none of them for all
    count : virtual neurons that it has

    Raises
    ------
    PureError
        It has no such virtual neuron.
    """
    if not numbers:
        return list(range(count))
    if max(numbers) > count:
        there = f"Its virtual neurons are {neuron}.1 to {neuron}.{count}." if count else "It never fires."
        raise PureError(f"The layer '{layer}' has no virtual neuron {neuron}.{max(numbers)}. {there}")
    return [number - 1 for number in sorted(numbers)]
