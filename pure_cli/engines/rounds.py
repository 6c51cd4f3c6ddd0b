"""A stage whose parts an engine does: what is missing is handed out, until all is there and is put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pure_cli.artifacts import drop_parts, keep_part, part_files, read_collected
from pure_cli.core.parts import Part
from pure_cli.engines.devices import Device
from pure_cli.engines.queue import PartQueue
from pure_cli.engines.worker import Done
from pure_cli.errors import PureFailure
from pure_cli.models.spec import parse_model
from pure_cli.registry import STAGES
from pure_cli.settings.parts import InParts
from pure_cli.settings.shared import AUTO
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.resume.parts import STAGES_WITH_PARTS, PartsMissing, portable_options
from pure_cli.waiting import waiting_for
from pure_cli.words import counted, listed
from pure_cli.workspace import MADE_BY, Store

EACH = 4  # parts for each worker, so that a slow one does not hold up all
FEWEST = 32  # images of a part, as far as that is not said
SAID_EVERY = 5.0  # seconds between two numbers of parts
ON_PARTS = ("assign",)  # stages whose later parts need all earlier ones
READS = {
    "collect": ("collect.h5",),
    "attribute": ("collect.h5", "attribute.h5", "*.json"),
    "embed": ("collect.h5", "attribute.h5", "crops.h5", "embed.h5", "*.json"),
    "assign": ("collect.h5", "attribute.h5", "crops.h5", "embed.h5", "cluster.h5", "assign.h5", "*.json"),
}  # what a part needs of the workspace


@dataclass(frozen=True)
class PartWork:
    """What workers are told.

    Attributes
    ----------
    stages : whose parts they leave
    options : of the stage, the same for all parts
    files : names in the workspace to the files that workers need
    trusted : model files that the user named
    """

    stage: str
    stages: tuple[str, ...]
    options: dict[str, Any]
    files: dict[str, Path]
    trusted: list[str]


@dataclass
class Told:
    """What an engine tells of its work.

    Attributes
    ----------
    messages : calls of workers
    workers : that began
    """

    messages: int = 0
    workers: int = 0
    notes: list[str] = field(default_factory=list)


class Engine(Protocol):
    """Who does parts."""

    told: Told

    def devices(self) -> list[Device]:
        """Those that are there now; a worker for each."""

    def run(self, work: PartWork, queue: PartQueue, done: Callable[[Part, Done], None]) -> None:
        """Do all parts of a queue; each is handed over as it is done."""


def by_engine(stage: str, opened: Callable[[InParts, ExitStack], Engine]) -> Callable[..., Outcome]:
    """A stage, as a function like its own, that an engine does.

    Parameters
    ----------
    opened : makes the engine when there is something to do, to be closed with the stack
    """

    def run(store: Store, settings: InParts, progress: Progress = silent) -> Outcome:
        begin, function = time.perf_counter(), STAGES[stage].function(stage)
        whole = settings.model_copy(update={"device": AUTO})  # the workers have those that the user named
        if getattr(settings, "force", False):
            for name in _stages_of(stage):
                drop_parts(store, name)
        with ExitStack() as stack:
            rounds = _Rounds(store, stage, settings, progress, lambda: opened(settings, stack))
            while True:
                try:
                    waiting_for(rounds.next)
                    outcome = function(store, whole, silent, from_parts=True)
                    break
                except PartsMissing as missing:
                    rounds.do(missing)
        rounds.tell(outcome)
        outcome.seconds = time.perf_counter() - begin
        return outcome

    return run


class _Rounds:
    """What is missing, again and again: the second round of some stages needs all of the first.

    Parameters
    ----------
    opened : makes the engine
    """

    def __init__(
        self, store: Store, stage: str, settings: InParts, progress: Progress, opened: Callable[[], Engine]
    ) -> None:
        self._store, self._stage, self._settings, self._progress = store, stage, settings, progress
        self._opened, self._engine = opened, None  # type: tuple[Callable[[], Engine], Engine | None]
        self._queues: list[PartQueue] = []
        self._notes: dict[str, None] = {}
        self._images, self._total, self._said = 0, 0, 0.0

    @property
    def next(self) -> str:
        """What comes next, in words."""
        return "putting the parts together" if self._queues else "looking for what is missing"

    def do(self, missing: PartsMissing) -> None:
        """Let the engine do what is missing.

        Raises
        ------
        PureError
            A part cannot be done, whoever does it; or the engine did them, and the same ones are missing.
        PureFailure
            Parts failed too often; all others are done.
        """
        if self._engine is None:
            self._engine = self._opened()
        queue = PartQueue(missing.parts or self._cut(missing.total, len(self._engine.devices())))
        self._queues.append(queue)
        self._images, self._total = missing.total - missing.images, missing.total
        before = part_files(self._store, _stages_of(self._stage))
        self._engine.run(self._work(), queue, self._keep)
        if queue.given_up:
            raise _given_up(queue)
        if part_files(self._store, _stages_of(self._stage)) == before:
            raise missing

    def tell(self, outcome: Outcome) -> None:
        """Add to an outcome what the workers said, and how much was to be said."""
        outcome.notes += [note for note in self._notes if note not in outcome.notes]
        if self._engine is not None:
            counts = {name: sum(getattr(queue, name) for queue in self._queues) for name in ("total", "repeated")}
            told = self._engine.told
            outcome.details |= {"parts": counts["total"], "repeated": counts["repeated"]}
            outcome.details |= {"workers": told.workers, "messages": told.messages}

    def _cut(self, total: int, workers: int) -> list[Part]:
        count = self._settings.parts or max(1, min(EACH * workers, total // FEWEST))
        return [Part(count, number) for number in range(1, count + 1)]

    def _keep(self, part: Part, done: Done) -> None:
        """A part came."""
        for name, content in done.files.items():
            keep_part(self._store, name, content)
        self._notes |= dict.fromkeys(note for note in done.notes if not note.startswith("This part "))
        self._images = min(self._images + done.images, self._total)
        self._progress(self._images, self._total)
        if time.monotonic() - self._said > SAID_EVERY:
            queue, self._said = self._queues[-1], time.monotonic()
            waiting_for(f"{len(queue.done) + 1} of {counted(queue.total, 'part')}")

    def _work(self) -> PartWork:
        options = {**portable_options(self._settings), "force": getattr(self._settings, "force", False)}
        if (workers := getattr(self._settings, "workers", None)) is not None:
            options["workers"] = workers
        stages = _stages_of(self._stage)
        paths = [path for pattern in READS[self._stage] for path in sorted(self._store.root.glob(pattern))]
        if self._stage in ON_PARTS:
            paths += part_files(self._store, stages)
        files = {path.relative_to(self._store.root).as_posix(): path for path in paths}
        return PartWork(self._stage, stages, options, files, self._trusted())

    def _trusted(self) -> list[str]:
        """The model file of the workspace, which was run here when it was looked for what is missing."""
        if STAGES[self._stage].begins:
            return []
        spec = parse_model(read_collected(self._store).origin["model"])
        return [str(spec.file)] if spec.file else []


def _stages_of(stage: str) -> tuple[str, ...]:
    """Whose parts a stage leaves."""
    return tuple(name for name in STAGES_WITH_PARTS if MADE_BY.get(name, name) == stage)


def _given_up(queue: PartQueue) -> PureFailure:
    parts = sorted(queue.given_up)
    named, last = listed([str(part) for part in parts]), queue.given_up[parts[-1]][-1]
    were = f"{'Part' if len(parts) == 1 else 'Parts'} {named} {'was' if len(parts) == 1 else 'were'}"
    return PureFailure(
        f"{were} given up after {len(queue.given_up[parts[0]])} tries (the last: {last}). What the others found is "
        "kept; the same command tries again."
    )
