"""Whether the circuit of a virtual neuron makes it fire: it is cut out, on images held out from the clustering."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import read_activations
from pure_cli.core.directions import module_of
from pure_cli.core.features import PURE, Kind
from pure_cli.core.metrics.causal import circuit_channels, drop, random_channels
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.data.listing import Listing
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.study import Result, Study, Table, ahead_and_behind, compared, finite, highest
from pure_cli.stages.inputs.features import FeatureSource
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once
from pure_cli.stages.runtime.network import Network, open_network, workers_of
from pure_cli.stages.runtime.soundness import require_sound

if TYPE_CHECKING:
    import torch

SHARES = (0.25, 0.5, 0.75)  # of a circuit's relevance that is cut out
SHOWN = 0.5  # of these, in the table
MOST = 8  # held-out images of each virtual neuron
CIRCUIT, RANDOM = "circuit", "random"
COLUMNS = ("own", "siblings", "specificity", "at random")


def compute(study: Study) -> Result:
    """Drops of activation by (features, k): on own images, on those of siblings, and what is specific."""
    surgery = _open(study)
    result = Result(arrays={"neuron": study.neurons})
    keys = [(features, k) for features in study.features for k in study.ks]
    trials = [_Trial.of(study, surgery.source, features, k) for features, k in keys]
    total, done = sum(len(trial.cases) for trial in trials), 0
    rows, specific = [], {}
    for (features, k), trial in zip(keys, trials, strict=True):
        found = np.full((len(study.neurons), len(SHARES), len(COLUMNS)), np.nan)
        for neuron, cases in trial.by_neuron():
            found[neuron] = surgery.measure(int(study.neurons[neuron]), cases)
            study.progress(done := done + len(cases), total)
        row: dict[str, Any] = {"features": features, "k": k}
        for place, column in enumerate(COLUMNS):
            result.arrays[f"{features}/k{k}/{column.replace(' ', '-')}"] = found[:, :, place]
            row[column] = finite(mean_and_error(found[:, SHARES.index(SHOWN), place]))
        for place, share in enumerate(SHARES):
            row[f"specificity {share:g}"] = finite(mean_and_error(found[:, place, COLUMNS.index("specificity")]))
        specific[features, k] = found[:, SHARES.index(SHOWN), COLUMNS.index("specificity")]
        rows.append(row)
    known = np.any([np.isfinite(values) for values in specific.values()], axis=0)
    differences = compared(study, specific, "causal-differences", f"{study.layer}: how specific, paired over neurons")
    best = highest(rows, "specificity")
    title = f"{study.layer}: what is lost with half of a circuit, {study.neurons_in_words(known)}"
    verdict = _verdict(study, rows, best, differences)
    columns = ["features", "k", *COLUMNS, *(f"specificity {share:g}" for share in SHARES)]
    shown = ["features", "k", *COLUMNS]
    result.tables += [Table("causal", title, columns, rows, surgery.note, verdict, best, shown=shown), *differences]
    return result


@dataclass(frozen=True)
class _Case:
    """An image held out, and the virtual neuron that it is nearest to.

    Attributes
    ----------
    row : of the neuron in the study
    circuits : (V, D) mean relevances of the virtual neurons, by the other half of the references
    """

    row: int
    image: int
    own: int
    circuits: np.ndarray


@dataclass
class _Trial:
    """One kind of features and one k: all images held out."""

    cases: list[_Case] = field(default_factory=list)

    def by_neuron(self) -> Iterator[tuple[int, list[_Case]]]:
        rows = dict.fromkeys(case.row for case in self.cases)
        yield from ((row, [case for case in self.cases if case.row == row]) for row in rows)

    @classmethod
    def of(cls, study: Study, source: FeatureSource, features: str, k: int) -> _Trial:
        """Each half of a neuron's references is clustered, and the other one is given to its virtual neurons."""
        from pure_cli.core.clusters import virtual_neurons

        found = cls()
        image = study.sources.collected.layers[study.layer].top.image
        excites = study.excites()
        both = zip(study.rows(features), source.rows(study.neurons), strict=True)
        for row, (points, relevance) in enumerate(both):
            present = np.flatnonzero(excites[row])
            for half in (0, 1):
                learn, held = present[half::2], present[1 - half :: 2]
                if len(learn) < k or not len(held):
                    continue
                split = virtual_neurons(points[learn], np.ones(len(learn), bool), k, study.seed)
                if len(split.sizes) < 2:
                    continue
                circuits = np.stack([relevance[learn][split.labels == v].mean(axis=0) for v in range(len(split.sizes))])
                near = ((points[held][:, None] - split.centroids[None]) ** 2).sum(axis=-1).argmin(axis=1)
                for virtual in range(len(circuits)):
                    chosen = held[near == virtual][: MOST // 2]
                    found.cases += [
                        _Case(row, int(image[study.neurons[row], slot]), virtual, circuits) for slot in chosen
                    ]
        return found


@dataclass
class _Surgery:
    """The network, and the values that channels have when they are cut out: their means over the references."""

    study: Study
    network: Network
    listing: Listing
    source: FeatureSource
    _memory: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def lower_layers(self) -> list[str]:
        return self.source.lower_layers

    @property
    def note(self) -> str:
        return (
            f"Drop of the neuron's activation, 1 for all of it, when the lower channels that carry {SHOWN:.0%} of a "
            f"virtual neuron's positive relevance at {', '.join(self.lower_layers)} get their mean over references; "
            f"on up to {MOST} images of each virtual neuron, held out from the clustering (halves). siblings: on the "
            "images of the other virtual neurons. specificity: own − siblings. at random: the specificity of channels "
            "drawn at random that carry as much. *: the most specific."
        )

    @cached_property
    def means(self) -> dict[str, torch.Tensor]:
        """By lower layer, (D,)."""
        import torch

        found = {}
        for lower in self.lower_layers:
            values = read_activations(self.study.sources.store, self.study.layer, f"lower/{lower}")
            found[lower] = torch.from_numpy(values.mean(axis=0)).to(self.network.device)
        return found

    def measure(self, neuron: int, cases: list[_Case]) -> np.ndarray:
        """(shares, columns) of one neuron."""
        random = np.random.default_rng([self.study.seed, neuron])
        whole = self._scores(neuron, cases, None)
        found = np.full((len(SHARES), len(COLUMNS)), np.nan)
        for place, share in enumerate(SHARES):
            choose = {
                CIRCUIT: lambda circuit, share=share: circuit_channels(circuit, share),
                RANDOM: lambda circuit, share=share: random_channels(circuit, share, random),
            }
            own, siblings = self._drops(neuron, cases, whole, choose[CIRCUIT])
            own_at_random, siblings_at_random = self._drops(neuron, cases, whole, choose[RANDOM])
            found[place] = own, siblings, own - siblings, own_at_random - siblings_at_random
        return found

    def _drops(
        self, neuron: int, cases: list[_Case], whole: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[float, float]:
        """Mean drop on own images and on those of siblings, each virtual neuron's circuit counting as much."""
        pairs = [(place, cut) for place, case in enumerate(cases) for cut in range(len(case.circuits))]
        memory: dict[tuple[int, int], np.ndarray] = {}
        for place, cut in pairs:
            key = (id(cases[place].circuits), cut)
            if key not in memory:
                memory[key] = choose(cases[place].circuits[cut])
        masks = np.stack([memory[id(cases[place].circuits), cut] for place, cut in pairs])
        after = self._scores(neuron, [cases[place] for place, _ in pairs], masks)
        lost = drop(whole[[place for place, _ in pairs]], after)
        is_own = np.array([cases[place].own == cut for place, cut in pairs])
        return tuple(float(np.nanmean(lost[which])) if which.any() else np.nan for which in (is_own, ~is_own))  # type: ignore[return-value]

    def _scores(self, neuron: int, cases: list[_Case], masks: np.ndarray | None) -> np.ndarray:
        """(M,) activations of the neuron on the images of cases, without the channels of masks (M, D)."""
        import torch

        size = images_at_once(self.listing, self.network, self.study.how.batch_size)
        adaptive_batches, images = AdaptiveBatches(self.study.notes), self._images([case.image for case in cases])
        parts: list[np.ndarray] = []
        for start in range(0, len(cases), size):

            def compute(begin: int, end: int, start: int = start) -> None:
                inputs = self.network.inputs(images[start + begin : start + end])
                cut = None if masks is None else torch.from_numpy(masks[start + begin : start + end])
                parts.append(self._of(neuron, inputs, cut))

            adaptive_batches.each(min(size, len(cases) - start), compute)
        return np.concatenate(parts)

    def _of(self, neuron: int, inputs: torch.Tensor, masks: torch.Tensor | None) -> np.ndarray:
        import torch

        from pure_cli.core.circuits import Firing, activations
        from pure_cli.core.editing import channels_replaced

        layer, model = self.study.layer, self.network.model
        cut: AbstractContextManager[None] = nullcontext()
        module = module_of(layer)
        bound, neurons = self.network.bounds[module], self.network.neurons(layer)
        if masks is not None:
            widths = [len(self.means[lower]) for lower in self.lower_layers]
            parts = dict(zip(self.lower_layers, torch.split(masks.to(inputs.device), widths, dim=1), strict=True))
            cut = channels_replaced(model, inputs, parts, self.means)

        def read(_: str, end: torch.Tensor) -> torch.Tensor:
            return Firing.of(end, neurons, bound).scores()[0][:, neuron].clone()

        with torch.no_grad(), cut:
            found = activations(model, inputs, [module], read, {module: bound} if bound else None)
        return found[module].float().clamp(min=0).cpu().numpy()

    def _images(self, index: list[int]) -> torch.Tensor:
        """(M, 3, H, W) uint8; each is decoded once for all that is done to a neuron."""
        import torch

        from pure_cli.data.loader import batches

        missing = [i for i in dict.fromkeys(index) if i not in self._memory]
        if missing:
            if len(self._memory) > 1000:
                self._memory.clear()
                missing = list(dict.fromkeys(index))
            workers = workers_of(self.study.how) if len(missing) > 64 else 0
            for batch in batches(self.listing, missing, self.network.preprocessing, len(missing), workers):
                self._memory.update(zip(batch.index.tolist(), batch.images, strict=True))
        return torch.stack([self._memory[i] for i in index])


def _open(study: Study) -> _Surgery:
    """The network, and the relevances by which circuits are told: of the first features by relevance, or PURE's."""
    kind = next((name for name in study.features if Kind.of(name).transform), PURE)
    source = study.source(kind)
    listing = study.sources.listing([study.layer])
    network = open_network(study.sources.collected, study.how.device, study.how.deterministic)
    example = first_image(listing, network)
    network.bound_of(study.layer, example)
    study.notes.extend(require_sound(network, listing, [study.layer, *source.lower_layers]))
    return _Surgery(study, network.ready(example, [module_of(study.layer), *source.lower_layers]), listing, source)


def _verdict(study: Study, rows: list[dict[str, Any]], best: int | None, differences: list[Table]) -> str:
    if best is None:
        return (
            f"The neurons of '{study.layer}' have too few references to cut out the circuits of their virtual neurons."
        )
    found = rows[best]
    told = (
        f"Without half of its circuit, a virtual neuron by {found['features']} at k = {found['k']} loses "
        f"{found['own'][0]:.0%} of the activation on its own images and {found['siblings'][0]:.0%} on those of its "
        f"siblings: {found['specificity'][0]:+.2f}, and {found['at random'][0]:+.2f} with as much relevance at random."
    )
    return " ".join(filter(None, [told, ahead_and_behind(study, differences)]))


def _figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
    from pure_cli.views.evaluation import lines_over_k

    yield "specificity", lines_over_k(tables[0]["rows"], ("specificity",))


METRIC = Metric(compute, figures=_figures)
