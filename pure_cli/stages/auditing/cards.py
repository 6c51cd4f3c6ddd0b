"""Audits as data: what drives a class, with what is known of these virtual neurons and of their references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np

from pure_cli.artifacts import Audit, Clustering, Labels, read_audits, read_clusterings
from pure_cli.core.metrics.statistics import CLEAR, clearly_positive
from pure_cli.core.outliers import far_from_mean, of_another_class
from pure_cli.errors import PureError
from pure_cli.settings.shared import FLOAT32
from pure_cli.stages.cluster import classes_of
from pure_cli.stages.inputs.choice import chosen_features
from pure_cli.stages.inputs.features import FeatureSource, Sources
from pure_cli.stages.inputs.units import address
from pure_cli.stages.labelling.names import names_of
from pure_cli.words import counted, listed
from pure_cli.workspace import Store

MOST = 0.5  # of a unit's references: those of another class have to be more, for it to be one of `elsewhere`


def audits(store: Store) -> list[dict[str, Any]]:
    """The audits of a workspace that are up to date, by the numbers of their classes.

    Returns
    -------
    list of dict
        JSON-like: "class", "number"; "sentences" on how it was measured; "accuracy" on the "images" of the class, on
        which was measured; "drivers", a list of "address", "effect" and "error" (the mean fall of the class's output
        against the mean of all outputs, without it), "share" of its neuron's activation there, "own" (part of its
        references that are of the class), "inside" (part of its activation over the data that is on the class's
        images), "label", "classes" (name, count and lift of those that stand out), and "silenced", with accuracy before
        and after on the class's images ("own") and on "others"; "elsewhere", those of the drivers most of whose
        references are of other classes; "together", a list of accuracies on the class's images ("own") and on "others"
        without the first "count" drivers at once, and without as many units at "random" (own, others); "outliers", odd
        references of the drivers: "address", "slot" among the references that excite the neuron, "path", "class",
        "why"; "control", the mean effect of units drawn at "random" with a "text". Numbers that are not known are None.
    """
    there = read_audits(store)
    if not there:
        return []
    sources, clusterings = Sources(store), read_clusterings(store)
    now = {layer: _fingerprint(sources, layer, clusterings) for one in there.values() for layer in one.layers}
    current = [one for one in there.values() if one.provenance.made_from["cluster"] == {n: now[n] for n in one.layers}]
    return cards_of(sources, current)


def _fingerprint(sources: Sources, layer: str, clusterings: dict[str, Clustering]) -> str:
    """Of the virtual neurons that addresses of a layer mean; "" where there are none, or they are stale."""
    try:
        return chosen_features(sources, layer, clusterings)[1].provenance.fingerprint
    except PureError:
        return ""


def cards_of(sources: Sources, found: Sequence[Audit]) -> list[dict[str, Any]]:
    """As `audits`, of audits that are up to date."""
    clusterings = read_clusterings(sources.store)
    layers = {layer: _Layer(sources, layer, *chosen_features(sources, layer, clusterings))
              for one in found for layer in one.layers}  # fmt: skip
    return [_card(one, [layers[layer] for layer in one.layers]) for one in found]


def _card(audit: Audit, layers: list[_Layer]) -> dict[str, Any]:
    confirmed = np.flatnonzero(clearly_positive(audit.effect, audit.error))
    drivers = [_driver(audit, row, layers[audit.unit[row, 0]]) for row in confirmed.tolist()]
    elsewhere = [one for one in drivers if one["own"] is not None and one["own"] < MOST]
    outliers = [one for place, *unit in audit.unit[confirmed].tolist() for one in layers[place].outliers(*unit)]
    return {
        "class": audit.name,
        "number": audit.number,
        "sentences": [*_sentences(audit), *audit.notes],
        "accuracy": _number(audit.right[0]),
        "images": int(audit.images[0]),
        "drivers": drivers,
        "elsewhere": [{name: one[name] for name in ("address", "effect", "own", "classes")} for one in elsewhere],
        "outliers": outliers,
        "together": [_together(audit, step) for step in range(len(audit.steps))],
        "control": _control(audit),
    }


def _driver(audit: Audit, row: int, layer: _Layer) -> dict[str, Any]:
    _, neuron, part = audit.unit[row].tolist()
    before, after = ([_number(value) for value in values] for values in (audit.right, audit.after[row]))
    return {
        "address": address(layer.name, neuron, part),
        "effect": float(audit.effect[row]),
        "error": _number(audit.error[row]),
        "share": _number(audit.share[row]),
        "own": layer.own(neuron, part, audit),
        "inside": _number(audit.inside[row]),
        "label": layer.labels.text(neuron, part) if layer.labels else "",
        "classes": layer.classes(neuron, part),
        "silenced": {"own": [before[0], after[0]], "others": [before[1], after[1]]},
    }


def _together(audit: Audit, step: int) -> dict[str, Any]:
    """Accuracy without the first drivers together, and without as many units at random."""
    (own, others), (own_random, others_random) = audit.together[step], audit.random_together[step]
    return {
        "count": int(audit.steps[step]),
        "own": _number(own),
        "others": _number(others),
        "random": [_number(own_random), _number(others_random)],
    }


def _control(audit: Audit) -> dict[str, Any]:
    """What units drawn at random do."""
    effect, count = audit.random_effect, len(audit.random_effect)
    text = (
        f"{counted(count, 'virtual neuron')} drawn at random: effect {effect.mean():.2g} on average, "
        f"{effect.max():.2g} at most; without one of them, accuracy on '{audit.name}' is "
        f"{audit.random_after[:, 0].mean():.1%} on average."
    )
    return {"random": float(effect.mean()), "text": text}


def _sentences(audit: Audit) -> list[str]:
    """How it was measured."""
    how, (own, others) = audit.provenance.settings, audit.images.tolist()
    rough = "" if audit.provenance.precision == FLOAT32 else f", in {audit.provenance.precision}"
    found = [
        f"The {counted(len(audit.unit), 'virtual neuron')} of {listed(audit.layers)} with most gradient × activation "
        "for the class, each by its share, were silenced one by one: on "
        f"{counted(own, 'image')} of '{audit.name}' that had no part in the choice, and on "
        f"{counted(others, 'image')} of other classes, from {PurePath(str(how['data'])).name}{rough}.",
        "Effect: how far the output of the class falls against the mean of all outputs, on average over the class's "
        "images.",
    ]
    if dropped := int((~clearly_positive(audit.effect, audit.error)).sum()):
        found.append(
            f"Without {dropped} of them the output does not fall by more than {CLEAR} standard errors; they are left "
            "out."
        )
    return found


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(eq=False)
class _Layer:
    """What is known of the virtual neurons of a layer."""

    sources: Sources
    name: str
    source: FeatureSource
    clustering: Clustering
    _points: dict[int, np.ndarray] = field(default_factory=dict)

    @cached_property
    def labels(self) -> Labels | None:
        """None where there are none of these virtual neurons."""
        return names_of(self.sources.store, self.name, self.clustering)

    def classes(self, neuron: int, part: int) -> list[list[Any]]:
        """Name, count and lift of those that stand out among the references of a unit."""
        found = classes_of(self._images(neuron)[self._slots(neuron, part)], self.sources.collected)
        return [[*named, lift] for named, lift in zip(found["classes"], found["lift"], strict=True)]

    def own(self, neuron: int, part: int, audit: Audit) -> float | None:
        """Part of the references of a unit that are of the class; None where they have no classes."""
        names = self.sources.collected.label_names
        number = names.index(audit.name) if audit.name in names else audit.number if not names else -1
        labels = self._labels(neuron, part)
        return float((labels == number).mean()) if (labels >= 0).any() and number >= 0 else None

    def outliers(self, neuron: int, part: int) -> Iterator[dict[str, Any]]:
        """References of a unit that are far from the others, or of another class than nearly all of them."""
        slots, labels = self._slots(neuron, part), self._labels(neuron, part)
        other, common = of_another_class(labels)
        far, collected = far_from_mean(self._features(neuron)[slots]), self.sources.collected
        excites = self.sources.excites(self.name, neuron)
        for place in np.flatnonzero(other | (far > 0)).tolist():
            why = []
            if other[place]:
                most = int((labels == common).sum())
                why.append(f"{most} of the {len(labels)} references are of the class {self._class(common)}")
            if far[place] > 0:
                times = f"{far[place]:.1f} times" if np.isfinite(far[place]) else "many times"
                why.append(f"it lies {times} as far from its virtual neuron as the median reference")
            sentence = listed(why) + "."
            yield {
                "address": address(self.name, neuron, part),
                "slot": int(excites[: slots[place]].sum()),
                "path": collected.path_of[int(self._images(neuron)[slots[place]])],
                "class": self._class(int(labels[place])),
                "why": sentence[0].upper() + sentence[1:],
            }

    def _slots(self, neuron: int, part: int) -> np.ndarray:
        """Of the references of a virtual neuron, among those of its neuron."""
        return np.flatnonzero(self.clustering.label[np.searchsorted(self.clustering.neuron, neuron)] == part)

    def _images(self, neuron: int) -> np.ndarray:
        found: np.ndarray = self.sources.collected.layers[self.name].top.image[neuron]
        return found

    def _labels(self, neuron: int, part: int) -> np.ndarray:
        label_of = self.sources.collected.label_of
        return np.array(
            [label_of[image] for image in self._images(neuron)[self._slots(neuron, part)].tolist()], np.int64
        )

    def _features(self, neuron: int) -> np.ndarray:
        if neuron not in self._points:
            (self._points[neuron],) = self.source.rows(np.array([neuron]))
        return self._points[neuron]

    def _class(self, number: int) -> str:
        names = self.sources.collected.label_names
        return names[number] if 0 <= number < len(names) else str(number) if number >= 0 else "unknown"
