"""Labels of units in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pure_cli.artifacts import Collected
from pure_cli.artifacts.labels import BY_CLASSES, CHANCE, GIVEN, RARE, UNJUDGED, Labels
from pure_cli.core.references import NO_IMAGE
from pure_cli.stages.inputs.units import address
from pure_cli.words import counted, listed

PURE_ENOUGH = 0.8  # share of a unit's references that are of one class, for this class to be the right label


def table_of(labels: Labels, layer: str, rows: np.ndarray, classes: ClassesOfUnits | None) -> dict[str, Any]:
    """A table of `pure_cli.views.tables`: a row for each unit.

    Parameters
    ----------
    rows : places of the units
    classes : of their references, where concepts name some
    """
    how = labels.provenance.settings
    judged = bool((labels.verdict[rows] != UNJUDGED).any())
    quality = ["auprc", "chance", "next auprc", "r", "f1", "presence"] if judged else []
    return {
        "name": "labels",
        "title": f"{layer}: labels of {listed(how['concepts'])} by {how['by']}, {how['embedder']}",
        "columns": ["unit", "label", "first", "score", "next", *quality],
        "shown": ["unit", "label", *(["auprc", "chance", "next auprc", "r"] if judged else ["score", "next"])],
        "rows": [_row(labels, layer, row) for row in rows.tolist()],
        "note": _note(how, judged),
        "verdict": _verdict(labels, rows, classes),
    }


def _row(labels: Labels, layer: str, row: int) -> dict[str, Any]:
    neuron, part = labels.unit[row].tolist()
    names = [labels.names[concept] for concept in labels.concept[row].tolist() if concept >= 0]
    present = int(labels.present[row, 0])
    found: dict[str, Any] = {
        "unit": address(layer, neuron, part),
        "label": labels.text_of(row),
        "first": names[0] if names else None,
        "score": _number(labels.score[row, 0]),
        "next": ", ".join(names[1:]) or None,
        "presence": {0: None, BY_CLASSES: "classes"}.get(present, "images"),
    }
    for name, values in (("auprc", labels.auprc), ("chance", labels.chance), ("r", labels.pearson), ("f1", labels.f1)):
        found[name] = _number(values[row, 0])
    found["next auprc"] = _number(labels.auprc[row, 1]) if labels.auprc.shape[1] > 1 else None
    return found


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _note(how: dict[str, Any], judged: bool) -> str:
    if not judged:
        return "?: not judged, for want of images (--sample)."
    return (
        "auprc: how well the unit's activation finds the images that have its first label (average precision), by "
        "chance, and for the concept that fits next best; r: Pearson correlation with presence, which the classes of "
        "images tell, or else their vectors. All on images that had no part in the choice. No label: no better than "
        f"all {how['shuffles']} shuffles. ?: in too few images to judge. +: each word helps by more than noise."
    )


def _verdict(labels: Labels, rows: np.ndarray, classes: ClassesOfUnits | None) -> str:
    verdict, count = labels.verdict[rows], len(rows)
    if (verdict == UNJUDGED).all():
        return f"{counted(count, 'unit')} got labels; nobody judged them."
    given = rows[verdict == GIVEN]
    told = f"Of {counted(count, 'unit')}, {len(given):,} have a label that tells images better than chance, "
    told += f"{int((verdict == CHANCE).sum()):,} have none"
    rare = int((verdict == RARE).sum())
    told += f", and of {rare:,} it is in too few images to be judged." if rare else "."
    if means := list(_means(labels, rows)):
        told += f" AUPRC of the first: {listed(means)} on average, {np.nanmean(labels.chance[rows, 0]):.2f} by chance."
    if len(given) and labels.auprc.shape[1] > 1:
        first, second = labels.auprc[given, 0], labels.auprc[given, 1]
        told += f" The next best concept would tell them better in {int((second > first).sum()):,}."
    return told + (classes.told(labels, rows) if classes else "")


def _means(labels: Labels, rows: np.ndarray) -> Iterator[str]:
    """AUPRC of neurons and of virtual neurons, where some were judged."""
    virtual = labels.unit[rows, 1] >= 0
    for name, own in (("neurons", rows[~virtual]), ("virtual neurons", rows[virtual])):
        values = labels.auprc[own, 0]
        if np.isfinite(values).any():
            yield f"{name} {np.nanmean(values):.2f}"


class ClassesOfUnits:
    """The class that most references of a unit are of, where nearly all are and a concept names it.

    Parameters
    ----------
    image : (U, n) data-set indices of the references of each unit, -1 for none
    label : (C,) int64, class of each concept, -1 for none
    names : (C,) of the concepts
    """

    def __init__(self, collected: Collected, image: np.ndarray, label: np.ndarray, names: Sequence[str]):
        self._name_of = {int(one): name for one, name in zip(label, names, strict=True) if one >= 0}
        self._class = [self._most(collected, own[own != NO_IMAGE]) for own in image]

    def _most(self, collected: Collected, images: np.ndarray) -> str | None:
        own = np.array([collected.label_of.get(one, -1) for one in images.tolist()], np.int64)
        if not len(own) or (own < 0).any():
            return None
        most = int(np.bincount(own).argmax())
        return self._name_of.get(most) if (own == most).mean() >= PURE_ENOUGH else None

    def told(self, labels: Labels, rows: np.ndarray) -> str:
        """A sentence on how often the label is this class; "" where no unit has one."""
        known = [(row, self._class[row]) for row in rows.tolist() if self._class[row] is not None]
        if not known:
            return ""
        chosen = [[labels.names[c] for c in labels.concept[row].tolist() if c >= 0] for row, _ in known]
        first = sum(name in own[:1] for own, (_, name) in zip(chosen, known, strict=True))
        among = sum(name in own for own, (_, name) in zip(chosen, known, strict=True))
        return (
            f" Of {counted(len(known), 'unit')} with {PURE_ENOUGH:.0%} of its references in one class that a concept "
            f"names, {first} have it as label and {among} among the first {labels.concept.shape[1]}."
        )
