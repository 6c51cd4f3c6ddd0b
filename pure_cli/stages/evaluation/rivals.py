"""Neurons, virtual neurons and directions of one layer side by side, at equal numbers of units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pure_cli.core.bands import BAND, without_band
from pure_cli.core.directions import AT, module_of
from pure_cli.core.metrics.purity import by_chance, entropies, purities
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation.labels import classes_of
from pure_cli.stages.evaluation.metric import Metric
from pure_cli.stages.evaluation.noise import dealt
from pure_cli.stages.evaluation.study import Result, Study, Table, finite, highest, number, virtual_neurons
from pure_cli.stages.evaluation.unit_scores import (
    IMAGES,
    MOST_UNITS,
    Units,
    by_embeddings,
    circuits_of,
    specificities,
    stabilities,
    where_cut,
)
from pure_cli.words import counted, listed

LEAST = 2  # references of a unit, to say anything of it
SHUFFLES = 20  # of the labels
LEAD = 2  # standard errors of a difference, below which units are not told apart
JUDGE = "clip"
NEURONS = "neurons"  # what the channels of a layer are called
MEASURES = ("purity", "above chance", "entropy", "ms", "clarity", "stability", "specificity")
STABILITY = (
    " stability: of the references of a unit or of the one most like it when units are found again, the share of both: "
    "virtual neurons in bootstrap samples, directions with another --seed where these are collected."
)
SPECIFICITY = (
    f" specificity: how much more is lost, without half of a unit's circuit, of its activation on {IMAGES} images held "
    "out from the circuit than of other units of the line on theirs; of at most "
    f"{MOST_UNITS} units. It is cut at {{lower}}; – has no relevances there, which `pure attribute --lower-layer` "
    "gives."
)


def rivals_of(study: Study) -> list[str]:
    """The layers of directions that lie in the module of the study's layer, in the same band, and it itself first."""
    module, others = module_of(study.layer), study.sources.collected.layers
    own = study.layer.partition(BAND)[2]
    alike = [name for name in others if module_of(name) == module and name.partition(BAND)[2] == own]
    return [study.layer, *(name for name in alike if name != study.layer)]


def compute(study: Study) -> Result:
    """Purity by the labels, its chance, entropy, and MonoSemanticity where there are embeddings.

    Raises
    ------
    PureError
        The images have no labels. References of a layer are stale.
    """
    kinds = [units for units in _all(study) if len(units.row)]
    count, judge = min((len(units.row) for units in kinds), default=0), _judge(study)
    drawn = [
        units.some(np.sort(np.random.default_rng(study.seed).permutation(len(units.row))[:count])) for units in kinds
    ]
    specificity = specificities(study, drawn)
    result, rows = Result(arrays={"neuron": study.neurons}), []
    for done, (units, all_of_kind) in enumerate(zip(drawn, kinds, strict=True), 1):
        found, chance = _measured(study, units, judge)
        found["specificity"] = specificity[units.path]
        result.arrays |= {f"{units.path}/{name.replace(' ', '-')}": values for name, values in found.items()}
        row: dict[str, Any] = {"units": units.name, "there": len(all_of_kind.row)}
        row |= {name: finite(mean_and_error(found[name])) for name in MEASURES}
        rows.append({**row, "chance": number(chance)})
        study.progress(done, len(kinds))
    result.tables.append(_table(study, rows, count, judge))
    return result


def _all(study: Study) -> Iterator[Units]:
    """Every kind of units: those that are collected, and virtual neurons by each kind of features and k."""
    sources = study.sources
    for layer in rivals_of(study):
        sources.listing([layer])
        neurons = study.neurons if layer == study.layer else np.arange(sources.collected.layers[layer].neurons)
        members = np.stack([sources.excites(layer, int(c)) for c in neurons])
        enough = members.sum(axis=1) >= LEAST
        yield Units(_called(layer), f"units/{layer}", layer, neurons[enough], members[enough])
    whole = _called(study.layer)
    parts = "virtual neurons" if whole == NEURONS else f"parts of {whole}"
    for features in study.features:
        for k in study.ks:
            virtual = virtual_neurons(study, features, k)
            enough = virtual.size >= LEAST
            name = f"{parts} ({features}, k = {k})"
            row, members, part = (values[enough] for values in (virtual.neuron, virtual.members, virtual.cluster))
            yield Units(name, f"{features}/k{k}", study.layer, row, members, part, features, k)
    for k in study.ks:
        virtual = virtual_neurons(study, study.features[0], k)
        enough, labels = virtual.size >= LEAST, dealt(study, study.features[0], k)[0]
        members = labels[virtual.row] == virtual.cluster[:, None]
        row = virtual.neuron[enough]
        yield Units(f"{whole} dealt at random (k = {k})", f"dealt/k{k}", study.layer, row, members[enough])


def _called(layer: str) -> str:
    """What the units of a layer are: neurons, or directions by the name of their layer; of a band the same."""
    name = without_band(layer)
    return NEURONS if name == module_of(layer) else name


def _measured(study: Study, units: Units, judge: str) -> tuple[dict[str, np.ndarray], float]:
    """Values (U,) of units by name, and the mean purity where labels say nothing."""
    classes = np.where(units.members, classes_of(study.sources, units.layer, units.row), -1)
    chance, purity = by_chance(classes, SHUFFLES, study.seed), purities(classes)
    found = {"unit": units.row, "purity": purity, "above chance": purity - chance, "entropy": entropies(classes)}
    found |= {**by_embeddings(study, units, judge), "stability": stabilities(study, units)}
    return found, mean_and_error(chance)[0]


def _judge(study: Study) -> str:
    """The embeddings that judge: those that are named, clip, or the first; "" for none."""
    there = list(study.sources.embeddings(study.layer))
    return study.how.judge or (JUDGE if JUDGE in there else next(iter(there), ""))


def _table(study: Study, rows: list[dict[str, Any]], count: int, judge: str) -> Table:
    smallest = min(rows, key=lambda row: row["there"])["units"] if rows else "no kind"
    there = [name for name in MEASURES if any(row[name][0] is not None for row in rows)]
    columns = ["units", "there", "purity", "chance", *[name for name in there if name != "purity"]]
    best = highest(rows, "above chance")
    split = "virtual neurons" if _called(study.layer) == NEURONS else "parts of directions"
    title = f"{study.layer}: neurons, {split} and directions side by side, {counted(count, 'unit')} of each"
    note = (
        f"Drawn by the seed: as many of each as {smallest} has. purity: share of a unit's references that are of its "
        "commonest class; chance: the same with the labels shuffled among the references of all units of the line; "
        "fewer references are purer by chance, so compare what is above it. dealt at random: the references of each "
        "neuron in parts as large as its virtual neurons. entropy: of the classes, in bits."
    )
    note += f" ms, clarity: MonoSemanticity and mean cosine similarity by {judge}." if "ms" in there else ""
    note += STABILITY if "stability" in there else ""
    note += SPECIFICITY.format(lower=where_cut(study).removeprefix(AT)) if "specificity" in there else ""
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
    first, neurons, module = rows[best], rows[0], module_of(study.layer)
    own = "" if study.layer == module else f"'{study.layer}', its parts and what else "
    found = f"Of {own or 'what '}'{module}' is read by, {first['units']} are purest above chance: "
    said = f"{found}{first['above chance'][0]:.3f}"
    said += f", {neurons['units']} {neurons['above chance'][0]:.3f}." if best else "."
    if near := _near(rows, best):
        said += f" Not told apart from them: {listed(near)}."
    if len(rivals_of(study)) == 1:
        said += " There are no directions beside them; `pure directions` finds some, `pure collect` takes them."
    return said


def made_from(study: Study) -> dict[str, str]:
    """Fingerprints of the references, embeddings and relevances of all that is compared."""
    judge, sources = _judge(study), study.sources
    found = {name: sources.collected.layers[name].provenance.fingerprint for name in rivals_of(study)}
    embedded = {name: sources.embedded.get((name, judge)) for name in found}
    found |= {f"{judge} {name}": rows.provenance.fingerprint for name, rows in embedded.items() if rows}
    return found | circuits_of(study, rivals_of(study))


METRIC = Metric(compute, options=("ablation", "precision"), by_module=True, beside=made_from, version=4)
