"""Neurons, virtual neurons and directions of one layer side by side, at equal numbers of units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pure_cli.core.directions import module_of
from pure_cli.core.metrics.monosemanticity import monosemanticity
from pure_cli.core.metrics.purity import by_chance, entropies, purities
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation.labels import classes_of
from pure_cli.stages.evaluation.metric import Metric
from pure_cli.stages.evaluation.study import Result, Study, Table, Virtual, finite, highest, number, virtual_neurons
from pure_cli.words import counted, listed

LEAST = 2  # references of a unit, to say anything of it
SHUFFLES = 20  # of the labels
LEAD = 2  # standard errors of a difference, below which units are not told apart
JUDGE = "clip"


@dataclass(frozen=True)
class _Units:
    """Units of one kind.

    Attributes
    ----------
    name : for the table
    path : in ``evaluate.h5``
    layer : that has their references
    row : (U,) int64, the neuron of `layer` that each is or is a part of
    members : (U, n) bool, which of its references
    """

    name: str
    path: str
    layer: str
    row: np.ndarray
    members: np.ndarray


def rivals_of(study: Study) -> list[str]:
    """The layers of directions that lie in the same module as the study's layer, and it itself first."""
    module, others = module_of(study.layer), study.sources.collected.layers
    return [study.layer, *(name for name in others if module_of(name) == module and name != study.layer)]


def compute(study: Study) -> Result:
    """Purity by the labels, its chance, entropy, and MonoSemanticity where there are embeddings.

    Raises
    ------
    PureError
        The images have no labels. References of a layer are stale.
    """
    kinds = [units for units in _all(study) if len(units.row)]
    count = min((len(units.row) for units in kinds), default=0)
    judge = _judge(study)
    result, rows = Result(arrays={"neuron": study.neurons}), []
    for done, units in enumerate(kinds, 1):
        drawn = np.sort(np.random.default_rng(study.seed).permutation(len(units.row))[:count])
        found, chance = _measured(study, units, drawn, judge)
        result.arrays |= {f"{units.path}/{name.replace(' ', '-')}": values for name, values in found.items()}
        row: dict[str, Any] = {"units": units.name, "there": len(units.row)}
        row |= {name: finite(mean_and_error(found[name])) for name in ("purity", "above chance", "entropy", "ms")}
        rows.append({**row, "chance": number(chance)})
        study.progress(done, len(kinds))
    result.tables.append(_table(study, rows, count, judge))
    return result


def _all(study: Study) -> Iterator[_Units]:
    """Every kind of units: those that are collected, and virtual neurons by each kind of features and k."""
    sources = study.sources
    for layer in rivals_of(study):
        sources.listing([layer])
        neurons = study.neurons if layer == study.layer else np.arange(sources.collected.layers[layer].neurons)
        members = np.stack([sources.excites(layer, int(c)) for c in neurons])
        enough = members.sum(axis=1) >= LEAST
        name = layer if layer != study.layer or layer != module_of(layer) else "neurons"
        yield _Units(name, f"units/{layer}", layer, neurons[enough], members[enough])
    for features in study.features:
        for k in study.ks:
            virtual = virtual_neurons(study, features, k)
            enough = virtual.size >= LEAST
            name = f"virtual neurons ({features}, k = {k})"
            yield _Units(name, f"{features}/k{k}", study.layer, virtual.neuron[enough], virtual.members[enough])
    for k in study.ks:
        virtual = virtual_neurons(study, study.features[0], k)
        enough, dealt = virtual.size >= LEAST, _dealt(virtual, study.seed)
        yield _Units(
            f"neurons dealt at random (k = {k})", f"dealt/k{k}", study.layer, virtual.neuron[enough], dealt[enough]
        )


def _dealt(virtual: Virtual, seed: int) -> np.ndarray:
    """(V, n) bool, the references of each neuron dealt to its virtual neurons at random, as many to each as it has."""
    members = virtual.members.copy()
    for neuron in np.unique(virtual.neuron):
        own = np.flatnonzero(virtual.neuron == neuron)
        known = np.flatnonzero(members[own].any(axis=0))
        order = np.random.default_rng([seed, int(neuron)]).permutation(known)
        members[np.ix_(own, known)] = virtual.members[np.ix_(own, order)]
    return members


def _measured(study: Study, units: _Units, chosen: np.ndarray, judge: str) -> tuple[dict[str, np.ndarray], float]:
    """Values (V,) of some of the units by name, and the mean purity where labels say nothing."""
    row, members = units.row[chosen], units.members[chosen]
    classes = np.where(members, classes_of(study.sources, units.layer, row), -1)
    chance = by_chance(classes, SHUFFLES, study.seed)
    purity = purities(classes)
    found = {"unit": row, "purity": purity, "above chance": purity - chance, "entropy": entropies(classes)}
    return {**found, "ms": _ms(study, units.layer, row, members, judge)}, mean_and_error(chance)[0]


def _ms(study: Study, layer: str, row: np.ndarray, members: np.ndarray, judge: str) -> np.ndarray:
    """(V,) MonoSemanticity of units; NaN where their references have no embeddings."""
    found, sources = np.full(len(row), np.nan), study.sources
    if not judge or (layer, judge) not in sources.embedded:
        return found
    source = sources.features_of(layer, judge)
    known = np.flatnonzero(np.isin(row, source.neuron))
    values = sources.collected.layers[layer].top.value
    neurons, place = np.unique(row[known], return_inverse=True)
    for i, points in enumerate(source.rows(neurons)):
        for unit in known[place == i]:
            found[unit] = monosemanticity(points[members[unit]], values[neurons[i]][members[unit]])
    return found


def _judge(study: Study) -> str:
    """The embeddings that judge: those that are named, clip, or the first; "" for none."""
    there = list(study.sources.embeddings(study.layer))
    return study.how.judge or (JUDGE if JUDGE in there else next(iter(there), ""))


def _table(study: Study, rows: list[dict[str, Any]], count: int, judge: str) -> Table:
    smallest = min(rows, key=lambda row: row["there"])["units"] if rows else "no kind"
    columns = ["units", "there", "purity", "chance", "above chance", "entropy", *(["ms"] if judge else [])]
    best = highest(rows, "above chance")
    title = f"{study.layer}: neurons, virtual neurons and directions side by side, {counted(count, 'unit')} of each"
    note = (
        f"Drawn by the seed: as many of each as {smallest} has. purity: share of a unit's references that are of its "
        "commonest class; chance: the same with the labels shuffled among the references of all units of the line; "
        "fewer references are purer by chance, so compare what is above it. dealt at random: the references of each "
        "neuron in parts as large as its virtual neurons. entropy: of the classes, in bits."
    )
    note += f" ms: MonoSemanticity by {judge}." if judge else ""
    note += f" *: the purest above chance, where it leads by {LEAD} standard errors of the difference."
    verdict, marked = _verdict(study, rows, best), None if _near(rows, best) else best
    return Table("rivals", title, columns, rows, note, verdict, marked, headline="above chance")


def _near(rows: list[dict[str, Any]], best: int | None) -> list[str]:
    """The units that the purest ones do not lead by more than what chance may do."""
    if best is None:
        return []
    mean, error = rows[best]["above chance"]
    others = [(row["units"], *row["above chance"]) for i, row in enumerate(rows) if i != best]
    return [
        name
        for name, other, noise in others
        if other is not None and mean - other < LEAD * np.hypot(error or 0, noise or 0)
    ]


def _verdict(study: Study, rows: list[dict[str, Any]], best: int | None) -> str:
    if best is None:
        return f"No units of '{study.layer}' have references to compare."
    first, neurons = rows[best], rows[0]
    found = f"Of what '{module_of(study.layer)}' is read by, {first['units']} are purest above chance: "
    said = f"{found}{first['above chance'][0]:.3f}"
    said += f", {neurons['units']} {neurons['above chance'][0]:.3f}." if best else "."
    if near := _near(rows, best):
        said += f" Not told apart from them: {listed(near)}."
    if len(rivals_of(study)) == 1:
        said += " There are no directions beside them; `pure directions` finds some, `pure collect` takes them."
    return said


def made_from(study: Study) -> dict[str, str]:
    """Fingerprints of the references and embeddings of all that is compared."""
    judge, sources = _judge(study), study.sources
    found = {name: sources.collected.layers[name].provenance.fingerprint for name in rivals_of(study)}
    embedded = {name: sources.embedded.get((name, judge)) for name in found}
    return found | {f"{judge} {name}": rows.provenance.fingerprint for name, rows in embedded.items() if rows}


METRIC = Metric(compute, beside=made_from)
