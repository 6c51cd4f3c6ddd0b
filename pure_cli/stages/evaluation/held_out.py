"""References held out from a clustering, and what a neuron loses on them without the circuits of virtual neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.metrics.causal import drop
from pure_cli.stages.evaluation.surgery import Surgery
from pure_cli.stages.inputs.features import FeatureSource, Sources

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Firing

MOST = 8  # held-out images of each virtual neuron


@dataclass(frozen=True)
class Case:
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
class Trial:
    """One kind of features and one k: all images held out."""

    cases: list[Case] = field(default_factory=list)

    def by_neuron(self) -> Iterator[tuple[int, list[Case]]]:
        rows = dict.fromkeys(case.row for case in self.cases)
        yield from ((row, [case for case in self.cases if case.row == row]) for row in rows)

    @classmethod
    def of(
        cls,
        sources: Sources,
        circuits: FeatureSource,
        features: Iterable[np.ndarray],
        neurons: np.ndarray,
        k: int,
        seed: int,
        most: int = MOST,
    ) -> Trial:
        """Each half of a neuron's references is clustered, and the other one is given to its virtual neurons.

        Parameters
        ----------
        circuits : relevances, of the same layer
        features : (n, D) of each neuron, by which references are clustered
        neurons : (N,) ascending
        most : held-out images of each virtual neuron
        """
        from pure_cli.core.clusters import virtual_neurons

        found, layer = cls(), circuits.layer
        image = sources.collected.layers[layer].top.image
        for row, (points, relevance) in enumerate(zip(features, circuits.rows(neurons), strict=True)):
            present = np.flatnonzero(sources.excites(layer, int(neurons[row])))
            for half in (0, 1):
                learn, held = present[half::2], present[1 - half :: 2]
                if len(learn) < k or not len(held):
                    continue
                split = virtual_neurons(points[learn], np.ones(len(learn), bool), k, seed)
                if len(split.sizes) < 2:
                    continue
                means = np.stack([relevance[learn][split.labels == v].mean(axis=0) for v in range(len(split.sizes))])
                near = ((points[held][:, None] - split.centroids[None]) ** 2).sum(axis=-1).argmin(axis=1)
                for virtual in range(len(means)):
                    chosen = held[near == virtual][: most // 2]
                    found.cases += [Case(row, int(image[neurons[row], slot]), virtual, means) for slot in chosen]
        return found


def drops(
    surgery: Surgery, neuron: int, cases: list[Case], whole: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """Mean drop on own images and on those of siblings, each virtual neuron's circuit counting as much."""
    pairs = [(place, cut) for place, case in enumerate(cases) for cut in range(len(case.circuits))]
    memory: dict[tuple[int, int], np.ndarray] = {}
    for place, cut in pairs:
        key = (id(cases[place].circuits), cut)
        if key not in memory:
            memory[key] = choose(cases[place].circuits[cut])
    masks = np.stack([memory[id(cases[place].circuits), cut] for place, cut in pairs])
    after = scores_of(surgery, neuron, [cases[place] for place, _ in pairs], masks)
    lost = drop(whole[[place for place, _ in pairs]], after)
    is_own = np.array([cases[place].own == cut for place, cut in pairs])
    own, siblings = (float(np.nanmean(lost[of])) if of.any() else np.nan for of in (is_own, ~is_own))
    return own, siblings


def scores_of(surgery: Surgery, neuron: int, cases: list[Case], masks: np.ndarray | None = None) -> np.ndarray:
    """(M,) activations of the neuron on the images of cases, without the channels of masks (M, D)."""

    def score(firing: Firing) -> torch.Tensor:
        return firing.scores()[0][:, neuron].clamp(min=0)

    return surgery.read([case.image for case in cases], score, masks)
