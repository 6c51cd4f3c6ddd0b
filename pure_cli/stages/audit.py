"""audit: the virtual neurons that drive classes, held against virtual neurons drawn at random."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Audit, read_audits, write_audits
from pure_cli.core.metrics.statistics import clearly_positive
from pure_cli.provenance import Provenance
from pure_cli.settings.audit import AuditSettings
from pure_cli.stages.auditing.candidates import Candidates, Classes, candidates_of
from pure_cli.stages.auditing.cards import cards_of
from pure_cli.stages.auditing.tables import tables_of
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.inputs.freshness import read_earlier
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.references.scores import order_notes
from pure_cli.words import counted, listed
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.stages.auditing.images import Images
    from pure_cli.stages.auditing.measure import Auditor, Silenced

GUESSING = 1.5  # times the accuracy of guessing: up to there, outputs are hardly these classes
FEW = 10  # images that choose
STEPS = (1, 2, 3, 5, 10, 20, 50, 100)  # drivers that are silenced together, the first ones


def audit(store: Store, settings: AuditSettings, progress: Progress = silent) -> Outcome:
    """Audit the classes that are not there yet, and write ``audit.h5`` after each of them.

    Raises
    ------
    PureError
        No virtual neurons, stale ones, those of features that need crops, directions, no such class, or classes that
        are not the network's outputs.
    """
    begin, sources = time.perf_counter(), Sources(store, settings.force)
    candidates = candidates_of(sources, settings.layer, settings.neurons)
    classes = Classes.of(sources.images(candidates.layers, settings.data, settings.limit))
    wanted = classes.chosen(settings.classes)
    there = read_earlier(read_audits, store, settings.force)
    made = {number: _provenance(settings, candidates, classes, number) for number in wanted}
    todo = [one for one in wanted if settings.force or one not in there or there[one].provenance != made[one]]
    outcome = Outcome("audit", candidates.layers, len(todo), "classes", [*classes.listing.notes])
    if todo:
        from pure_cli.stages.auditing.measure import Auditor

        replaced = [f"'{there[number].name}'" for number in todo if number in there and not settings.force]
        if replaced:
            outcome.notes.append(f"This replaced audits of {listed(replaced)} that were made from other things.")
        auditor = Auditor(sources, candidates, classes, settings, outcome.notes, progress)
        auditor.expect(todo)
        for number in todo:
            there[number] = _audited(auditor, number, made[number])
            write_audits(store, there)
    cards = cards_of(sources, [there[number] for number in wanted])
    outcome.notes += [sentence for number in wanted for sentence in there[number].notes]
    outcome.notes = list(dict.fromkeys(outcome.notes))
    outcome.details |= {"tables": [table for card in cards for table in tables_of(card)], "audits": cards}
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _provenance(settings: AuditSettings, candidates: Candidates, classes: Classes, number: int) -> Provenance:
    how: dict[str, Any] = settings.model_dump(mode="json", include={"neurons", "count", "sample", "limit", "seed"})
    how |= {"class": classes.names[number], "layers": candidates.layers, "data": str(classes.listing.data)}
    made_from = {"cluster": candidates.made_from, "images": classes.listing.fingerprint}
    return Provenance(how | settings.arithmetic, made_from)


def _audited(auditor: Auditor, number: int, provenance: Provenance) -> Audit:
    """One class: chosen on one half of its images, measured on the other and on images of other classes."""
    choosing, measuring = auditor.halves(number)
    which, first_order = auditor.first_order(choosing)
    unit, how = auditor.candidates.unit, auditor.how
    random = np.random.default_rng(how.seed).permutation(len(unit))[: how.count]
    both = _Both(auditor, number, measuring)
    found, others = both.without([(row,) for row in [*which.tolist(), *random.tolist()]])
    after, effect, count = both.right(found, others), found.fall.mean(axis=1), len(which)
    order, at_random = np.argsort(-effect[:count], kind="stable"), np.arange(count, len(effect))
    error = _standard_error(found.fall)
    driving = which[order][clearly_positive(effect, error)[order]]
    steps = np.array([step for step in STEPS if step <= len(driving)], np.int64)
    together = [tuple(rows[:step].tolist()) for rows in (driving, random) for step in steps]
    joint = both.right(*both.without(together)) if together else np.empty((0, 2))
    inside = _inside(found, others, both.rest, float((auditor.classes.label == number).mean()))
    return Audit(
        name=auditor.classes.names[number],
        number=number,
        layers=auditor.candidates.layers,
        images=np.array([len(measuring), int(both.rest.sum())], np.int64),
        right=both.right_before,
        unit=unit[which[order]],
        first_order=first_order[order],
        effect=effect[order],
        error=error[order],
        share=_ratio(found.activation.sum(axis=1), found.whole.sum(axis=1))[order],
        inside=inside[order],
        after=after[order],
        random=unit[random],
        random_effect=effect[at_random],
        random_after=after[at_random],
        steps=steps,
        together=joint[: len(steps)],
        random_together=joint[len(steps) :],
        notes=_notes(auditor, number, len(choosing), both.right_before),
        provenance=provenance,
    )


@dataclass(eq=False)
class _Both:
    """Images of a class, and of all others, on which units are silenced."""

    auditor: Auditor
    number: int
    own: Images

    @property
    def rest(self) -> np.ndarray:
        """(P,) bool, which of the images of all classes are of others."""
        return self.auditor.others.label != self.number

    def without(self, groups: list[tuple[int, ...]]) -> tuple[Silenced, Silenced]:
        """Groups of units, on the class's images and on those of all classes."""
        return self.auditor.silence(self.own, groups), self.auditor.silence_on_others(groups)

    def right(self, own: Silenced, others: Silenced) -> np.ndarray:
        """(G, 2) accuracy on the class and on others."""
        return np.column_stack([_mean(own.predicted == self.number), self._on_others(others.predicted)])

    @property
    def right_before(self) -> np.ndarray:
        """(2,) the same of the network as it is."""
        own = _mean(self.auditor.predicted(self.own) == self.number)
        return np.array([own, self._on_others(self.auditor.others_predicted)])

    def _on_others(self, predicted: np.ndarray) -> Any:
        return _mean((predicted == self.auditor.others.label)[..., self.rest])


def _mean(values: np.ndarray) -> Any:
    """Over the last axis; NaN over nothing."""
    return values.mean(axis=-1) if values.shape[-1] else np.full(values.shape[:-1], np.nan)


def _standard_error(values: np.ndarray) -> np.ndarray:
    """(U,) of the means of values (U, P); NaN where there is a single one."""
    count = values.shape[1]
    return values.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.full(len(values), np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Parts (U,) of wholes; NaN of nothing."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _inside(own: Silenced, others: Silenced, rest: np.ndarray, frequency: float) -> np.ndarray:
    """(U,) how much of the activation over the data is on images of the class, which are so frequent in it."""
    if not rest.any():
        return np.full(len(own.activation), np.nan)
    inside = own.activation.mean(axis=1) * frequency
    return _ratio(inside, inside + others.activation[:, rest].mean(axis=1) * (1 - frequency))


def _notes(auditor: Auditor, number: int, chose: int, right: np.ndarray) -> list[str]:
    """What the reader of the figures should know."""
    classes, name = auditor.classes, auditor.classes.names[number]
    notes = order_notes(classes.listing)
    if chose < FEW:
        notes.append(
            f"'{name}' was audited by few images: {counted(chose, 'image')} chose, and about as many measured."
        )
    overall = float(np.mean(auditor.others_predicted == auditor.others.label))
    if len(classes.names) > 1 and overall <= GUESSING / auditor.outputs:
        notes.append(
            f"The network gets {overall:.1%} of the images right, which is hardly more than guessing: are its outputs "
            "other classes, or in another order?"
        )
    if np.isnan(right[1]):
        notes.append(f"There are no images of other classes, so nothing says what they lose with '{name}'.")
    return notes
