"""Which classes virtual neurons drive: what their neuron adds to every output on their references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pure_cli.core.directions import AT, module_of
from pure_cli.core.metrics.correlation import pearson
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.core.selection import evenly_spread
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.stages.evaluation import deciding
from pure_cli.stages.evaluation.metric import Metric
from pure_cli.stages.evaluation.study import Result, Study, Table, Virtual, finite, virtual_neurons
from pure_cli.stages.references.scores import why_no_outputs
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once, read_images
from pure_cli.stages.runtime.network import Network, open_network, workers_of
from pure_cli.stages.runtime.soundness import require_sound

REFERENCES = 40  # of each neuron, spread over their ranks
NAMED = 3  # classes of each virtual neuron in the table
READ_FIRST = 40  # rows of virtual neurons that a terminal is given unasked
DEALS = 20  # of references at random
SHARE = 4  # of memory
COLUMNS = ("different", "different by chance", "as siblings", "as siblings by chance", "relevance")
NOTE = (
    "A neuron's effect on an output: what is gone of it, against the mean of all outputs, without the neuron. "
    "different: share of neurons whose virtual neurons do not all drive the same class most; as siblings: Pearson "
    "correlation over classes of the effects of a neuron's virtual neurons; by chance: the same with references dealt "
    f"at random, {DEALS} times. relevance: correlation over classes of gradient × activation with the effect. Over up "
    f"to {REFERENCES} references of each neuron. Behind the last nonlinearity a neuron drives the same classes on all "
    "images, whatever its virtual neuron."
)

DRIVES_NOTE = (
    "The classes whose outputs fall most, and rise most, without the neuron on these images, against the mean of all "
    "outputs; by relevance: by gradient × activation, to first order."
)


@dataclass
class _Effects:
    """What one neuron does to the outputs on some of its references.

    Attributes
    ----------
    slots : (m,) which references
    effect, relevance : (m, K), their mean over outputs taken away
    """

    slots: np.ndarray
    effect: np.ndarray
    relevance: np.ndarray

    def mean(self, members: np.ndarray, of: np.ndarray) -> np.ndarray:
        """(V, K) over the references of virtual neurons, (V, n) bool; NaN where none was looked at."""
        own = members[:, self.slots].astype(np.float64)
        count = own.sum(axis=1, keepdims=True)
        return np.where(count > 0, own @ of / np.where(count > 0, count, 1), np.nan)


def compute(study: Study) -> Result:
    """Effects on outputs by (features, k), and whether those of siblings differ."""
    if AT in study.layer or study.sources.collected.layers[study.layer].directions:
        raise PureError(f"The neurons of '{study.layer}' are directions, which cannot be silenced one by one.")
    listing = study.sources.listing([study.layer])
    network = open_network(study.sources.collected, study.how.device)
    study.notes.extend(require_sound(network, listing, [study.layer]))
    fast = network.ready(first_image(listing, network), [module_of(study.layer)])
    keys = [(features, k) for features in study.features for k in study.ks]
    virtual = {key: virtual_neurons(study, *key) for key in keys}
    found: dict[tuple[str, int], list[dict[str, Any]]] = {key: [] for key in keys}
    scores = {key: np.full((len(study.neurons), len(COLUMNS)), np.nan) for key in keys}
    excites = study.excites()
    for row, neuron in enumerate(study.neurons.tolist()):
        effects = _effects(study, fast, listing, neuron, np.flatnonzero(excites[row]))
        for key in keys:
            own = virtual[key]
            members = own.members[own.row == row]
            found[key].append({"effect": effects.mean(members, effects.effect)})
            found[key][-1]["relevance"] = effects.mean(members, effects.relevance)
            scores[key][row] = _scores(effects, members, np.random.default_rng([study.seed, neuron]))
        study.progress(row + 1, len(study.neurons))
    result = _result(study, listing, virtual, found, scores)
    if study.how.between:
        outputs = next((one["effect"].shape[1] for of in found.values() for one in of if one["effect"].size), 0)
        result.tables[:0] = deciding.tables(study, listing, network, outputs)
    return result


def _effects(study: Study, network: Network, listing: Listing, neuron: int, slots: np.ndarray) -> _Effects:
    from pure_cli.core.output_effects import output_effects

    slots = evenly_spread(slots, REFERENCES)
    image = study.sources.collected.layers[study.layer].top.image[neuron, slots]
    size, layer = images_at_once(listing, network, study.how.batch_size, SHARE), module_of(study.layer)
    adaptive_batches, parts = AdaptiveBatches(study.notes), list[tuple[np.ndarray, ...]]()
    workers = workers_of(study.how) if len(image) > 2 * size else 0
    for start in range(0, len(image), size):
        inputs = network.inputs(read_images(network, listing, image[start : start + size], workers))

        def compute(begin: int, end: int, inputs: Any = inputs) -> None:
            both = output_effects(network.model, inputs[begin:end], layer, neuron)
            if both is None:
                raise PureError("The model gives no outputs (B, K), so there are no classes that neurons could drive.")
            parts.append(tuple((one - one.mean(dim=1, keepdim=True)).cpu().numpy() for one in both))

        adaptive_batches.each(len(inputs), compute)
    if not parts:
        return _Effects(slots, np.empty((0, 0)), np.empty((0, 0)))
    effect, relevance = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    return _Effects(slots, effect, relevance)


def _scores(effects: _Effects, members: np.ndarray, random: np.random.Generator) -> list[float]:
    """`COLUMNS` of one neuron."""
    if not len(effects.slots):
        return [np.nan] * len(COLUMNS)
    different, alike = _siblings(effects.mean(members, effects.effect))
    deals = []
    for _ in range(DEALS):
        dealt = members.copy()
        dealt[:, effects.slots] = members[:, random.permutation(effects.slots)]
        deals.append(_siblings(effects.mean(dealt, effects.effect)))
    by_chance = np.mean(deals, axis=0)
    agree = pearson(effects.effect.ravel(), effects.relevance.ravel())
    return [different, by_chance[0], alike, by_chance[1], agree]


def _siblings(profiles: np.ndarray) -> tuple[float, float]:
    """Whether virtual neurons (V, K) drive different classes most, and the mean correlation of pairs."""
    known = profiles[np.isfinite(profiles).all(axis=1)]
    if len(known) < 2:
        return np.nan, np.nan
    pairs = [pearson(a, b) for i, a in enumerate(known) for b in known[:i]]
    return float(len(set(known.argmax(axis=1).tolist())) > 1), float(np.mean(pairs))


def _result(
    study: Study,
    listing: Listing,
    virtual: Mapping[tuple[str, int], Virtual],
    found: Mapping[tuple[str, int], list[dict[str, Any]]],
    scores: Mapping[tuple[str, int], np.ndarray],
) -> Result:
    result, rows, tables = Result(arrays={"neuron": study.neurons}), [], list[Table]()
    for (features, k), values in scores.items():
        own = virtual[features, k]
        fire = [one for one in found[features, k] if len(one["effect"])] or found[features, k][:1]
        both = {name: np.concatenate([one[name] for one in fire]) for name in ("effect", "relevance")}
        result.arrays |= own.arrays(f"{features}/k{k}", **both)
        for place, column in enumerate(COLUMNS):
            result.arrays[f"{features}/k{k}/{column.replace(' ', '-')}"] = values[:, place]
        means = {column: finite(mean_and_error(values[:, place])) for place, column in enumerate(COLUMNS)}
        rows.append({"features": features, "k": k, **means})
        tables.append(_of_virtual_neurons(study, listing, own, both, features, k))
    known = np.any([np.isfinite(values[:, 0]) for values in scores.values()], axis=0)
    title = f"{study.layer}: whether virtual neurons drive classes of their own, {study.neurons_in_words(known)}"
    columns = ["features", "k", *COLUMNS]
    result.tables = [Table("outputs", title, columns, rows, NOTE, _verdict(study, rows)), *tables]
    return result


def _of_virtual_neurons(
    study: Study, listing: Listing, own: Virtual, both: Mapping[str, np.ndarray], features: str, k: int
) -> Table:
    outputs = both["effect"].shape[1]
    why = why_no_outputs(listing, listing.labels, outputs)
    names = list(listing.names) if not why and listing.names else [str(i) for i in range(outputs)]
    rows: list[dict[str, Any]] = []
    for place, (neuron, cluster, size) in enumerate(zip(own.neuron, own.cluster, own.size, strict=True)):
        effect, relevance = both["effect"][place], both["relevance"][place]
        row: dict[str, Any] = {"virtual neuron": f"{study.layer}/{neuron}.{cluster + 1}", "images": int(size)}
        if np.isfinite(effect).all():
            row["drives"] = _named(effect, names, 1)
            row["by relevance"] = _named(relevance, names, 1)
            row["holds back"] = _named(effect, names, -1)
        rows.append(row)
    note, verdict = DRIVES_NOTE, "Classes that each virtual neuron drives most." if len(rows) <= READ_FIRST else ""
    columns = ["virtual neuron", "images", "drives", "by relevance", "holds back"]
    if why and verdict:
        verdict += f" Outputs go by number, since {why}."
    title = f"{study.layer}: the classes that virtual neurons by {features} drive, k = {k}"
    shown = [name for name in columns if name != "by relevance"]
    return Table(f"outputs-{features}-k{k}", title, columns, rows, note, verdict, shown=shown)


def _named(values: np.ndarray, names: list[str], sign: int) -> str:
    """The classes with the largest values of one sign."""
    order = np.argsort(-sign * values, kind="stable")[:NAMED]
    return ", ".join(f"{names[i]} {values[i]:+.2g}" for i in order if sign * values[i] > 0)


def _verdict(study: Study, rows: list[dict[str, Any]]) -> str:
    first = rows[0]
    if first["different"][0] is None:
        return f"The neurons of '{study.layer}' have too few references to compare what their virtual neurons drive."
    return (
        f"Virtual neurons by {first['features']} at k = {first['k']} drive different classes in "
        f"{first['different'][0]:.0%} of the neurons, and in {first['different by chance'][0]:.0%} where references "
        f"are dealt at random; what siblings do to the classes correlates by {first['as siblings'][0]:.2f}."
    )


METRIC = Metric(compute, options=("between", "precision"), version=3)
