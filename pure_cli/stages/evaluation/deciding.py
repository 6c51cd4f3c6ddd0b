"""Which virtual neurons decide between two classes, on the images of these classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.core.directions import module_of
from pure_cli.core.features import Kind
from pure_cli.core.neurons import NO_PART
from pure_cli.core.selection import evenly_spread
from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import values_at
from pure_cli.errors import PureError, unknown
from pure_cli.stages.evaluation.study import Study, Table
from pure_cli.stages.references.scores import why_no_outputs
from pure_cli.stages.runtime.images import first_image, images_at_once, read_images
from pure_cli.stages.runtime.network import Network, workers_of
from pure_cli.words import counted

if TYPE_CHECKING:
    import torch

    from pure_cli.stages.assignment.reader import CircuitReader

IMAGES = 100  # of each class, spread over the data set
LEAST = 0.005  # of a margin, that is told
SHARE = 4  # of memory


def tables(study: Study, listing: Listing, network: Network, outputs: int) -> list[Table]:
    """For each kind of features and k: by how much the margin of images' own class falls without each virtual neuron.

    Parameters
    ----------
    network : as it was loaded
    outputs : of the model

    Raises
    ------
    PureError
        The classes are not two, or unknown, or images have no labels.
    """
    readable = study.readable(listing)
    labels = values_at(listing.labels, readable)
    why = why_no_outputs(listing, labels, outputs)
    if why:
        raise PureError(f"--between needs images whose labels are the model's outputs: {why}.")
    names = list(listing.names) or [str(i) for i in range(outputs)]
    pair = _pair(str(study.how.between), names)
    image = np.concatenate([evenly_spread(readable[labels == one], IMAGES) for one in pair])
    is_first = values_at(listing.labels, image) == pair[0]
    if not is_first.any() or is_first.all():
        raise PureError(f"--between needs images of both classes, {names[pair[0]]} and {names[pair[1]]}.")
    network.bound_of(study.layer, first_image(listing, network))
    from pure_cli.stages.assignment.reader import CircuitReader

    found = []
    for features in study.features:
        if Kind.of(features).is_embedding:
            study.notes.append(f"{features} embeddings say nothing of other images, and are left out of --between.")
            continue
        for k in study.ks:
            reader = CircuitReader.of(study.sources, study.source(features), study.clustering(features, k), network)
            effects = _effects(study, listing, reader, image, is_first, pair)
            found.append(_table(study, effects, is_first, [names[one] for one in pair], features, k))
    return found


def _pair(text: str, names: list[str]) -> list[int]:
    """Two outputs by their names or numbers.

    Raises
    ------
    PureError
        There is none by that name, or they are one.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if part not in names and not (part.isdecimal() and int(part) < len(names)):
            raise unknown("class", part, names)
    pair = [names.index(part) if part in names else int(part) for part in parts]
    if len(set(pair)) != 2:
        raise PureError(f"--between takes two classes, as in --between {names[0]},{names[-1]}.")
    return pair


def _effects(
    study: Study, listing: Listing, reader: CircuitReader, image: np.ndarray, is_first: np.ndarray, pair: Sequence[int]
) -> dict[tuple[int, int], np.ndarray]:
    """Neuron and part, the last of which belongs to no virtual neuron, to (M,) what the margin of each image's own
    class loses without it."""
    network, found = reader.network, dict[tuple[int, int], np.ndarray]()
    neurons = study.neurons.tolist()
    for neuron in neurons:
        assigner = reader.assigner(neuron)
        for virtual in range(len(assigner.centroids) + 1 if assigner else 1):  # and what belongs to none
            found[neuron, virtual] = np.zeros(len(image))
    size = images_at_once(listing, network, study.how.batch_size, SHARE)
    for start in range(0, len(image), size):
        rows = np.arange(start, min(start + size, len(image)))
        inputs = network.inputs(read_images(network, listing, image[rows], workers_of(study.how)))
        sign = np.where(is_first[rows], 1, -1)
        shares = reader.shares(inputs, neurons)
        whole = _margin(reader, inputs, pair)
        for (neuron, virtual), lost in found.items():
            share = shares[neuron][:, virtual]
            own = share > 0
            if own.any():
                after = _margin(reader, inputs[own], pair, neuron, 1 - share[own])
                which = own.cpu().numpy()
                lost[rows[which]] = (sign[which] * (whole[which] - after)).astype(np.float64)
        study.progress(rows[-1] + 1, len(image))
    return found


def _margin(
    reader: CircuitReader, inputs: torch.Tensor, pair: Sequence[int], neuron: int = -1, factor: Any = None
) -> np.ndarray:
    """(B,) the first output less the second, with a neuron scaled where a factor is given."""
    import torch

    from pure_cli.core.editing import channels_scaled
    from pure_cli.core.forward import run

    model, factors = reader.network.model, {} if factor is None else {module_of(reader.layer): {neuron: factor}}
    with torch.no_grad(), channels_scaled(model, inputs, factors):
        outputs = run(model, inputs)
    margin: np.ndarray = (outputs[:, pair[0]] - outputs[:, pair[1]]).float().cpu().numpy()
    return margin


def _table(
    study: Study,
    effects: dict[tuple[int, int], np.ndarray],
    is_first: np.ndarray,
    names: list[str],
    features: str,
    k: int,
) -> Table:
    columns = [f"for {name}" for name in names]
    rows: list[dict[str, Any]] = []
    for (neuron, virtual), lost in effects.items():
        means = [float(lost[of].mean()) for of in (is_first, ~is_first)]
        active = [int((lost[of] != 0).sum()) for of in (is_first, ~is_first)]
        row = dict(zip(columns, means, strict=True))
        row |= dict(zip([f"images of {name}" for name in names], active, strict=True))
        part = f"{neuron} {NO_PART}" if (neuron, virtual + 1) not in effects else f"{neuron}.{virtual + 1}"
        rows.append({"virtual neuron": f"{study.layer}/{part}", **row})
    rows.sort(key=lambda row: -max(abs(row[column]) for column in columns))
    idle = sum(max(abs(row[column]) for column in columns) < LEAST for row in rows)
    counts = [int(is_first.sum()), int((~is_first).sum())]
    one, other = names
    note = (
        f"for {one}: by how much the margin of {one} over {other} falls on {counts[0]} images of {one} without the "
        "part (the virtual neuron's share of the neuron, image by image), in the mean; "
        f"for {other}: that of {other} over {one}, on {counts[1]} images of it. Negative: it drives the confusion. "
        "none: what belongs to no virtual neuron. images: on how many it does something. The largest first."
        + (f" Left out: {counted(idle, 'part')} that do less than {LEAST:g}." if idle else "")
    )
    rows = rows[: len(rows) - idle]
    title = f"{study.layer}: what decides between {names[0]} and {names[1]}, virtual neurons by {features}, k = {k}"
    shown = ["virtual neuron", *columns, *(f"images of {name}" for name in names)]
    return Table(f"outputs-between-{features}-k{k}", title, shown, rows, note, _verdict(rows, names, columns))


def _verdict(rows: list[dict[str, Any]], names: list[str], columns: list[str]) -> str:
    told = []
    for name, column in zip(names, columns, strict=True):
        most = max(rows, key=lambda row, c=column: row[c], default=None)  # type: ignore[misc]
        least = min(rows, key=lambda row, c=column: row[c], default=None)  # type: ignore[misc]
        if most and most[column] > LEAST:
            told.append(f"{most['virtual neuron']} helps images of {name} most (margin {most[column]:+.2g})")
        if least and least[column] < -LEAST:
            told.append(f"{least['virtual neuron']} confuses them most ({least[column]:+.2g})")
    if not told:
        return f"No virtual neuron does anything between {names[0]} and {names[1]}."
    return f"Between {names[0]} and {names[1]}: {', '.join(told)}."
