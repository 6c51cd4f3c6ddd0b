"""merge: what processes with ``--part`` have found, put together as one process would have it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pure_cli.artifacts import PartHeader, PartStore, drop_parts, has_parts, read_headers
from pure_cli.config import make
from pure_cli.errors import PureError
from pure_cli.registry import STAGES as ALL
from pure_cli.settings.merge import STAGES, MergeSettings
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.resume.checkpoint import COLLECT
from pure_cli.stages.resume.parts import options_of
from pure_cli.stages.runtime.arithmetic import arithmetic_of
from pure_cli.words import listed
from pure_cli.workspace import Store


def merge(store: Store, settings: MergeSettings, progress: Progress = silent) -> Outcome:
    """Put together the parts that there are, and write the files of their stages.

    Where parts are of several works, those that are complete are put together, and notes tell of the others.

    Raises
    ------
    PureError
        There are none, or none of the works is complete, or they do not fit together.
    """
    start = time.perf_counter()
    stages = [stage for stage in settings.stage or STAGES if has_parts(store, stage)]
    if missing := [stage for stage in settings.stage or () if stage not in stages]:
        raise PureError(f"There are no parts of {listed([f'`pure {stage}`' for stage in missing])} in {store.root}.")
    if not stages and not store.has("collect"):
        raise PureError(f"There are no parts in {PartStore(store).root}. `pure collect --part 1/64` makes the first.")
    outcome = Outcome("merge", [], 0, "parts", details={"stages": stages})
    for stage in stages:
        kept: list[PureError] = []
        for options, headers in _by_options(read_headers(store, stage)):
            device = {} if stage == COLLECT else {"device": settings.device}
            try:
                _merge(store, stage, make(stage, {**options, **device}), headers, outcome, progress)
            except PureError as error:
                kept.append(error)
        if kept and not outcome.computed:
            raise kept[0]
        outcome.notes += map(str, kept)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _merge(
    store: Store, stage: str, settings: Any, headers: list[PartHeader], outcome: Outcome, progress: Progress
) -> None:
    """Put together parts that were made with the same settings."""
    function: Callable[..., Outcome] = ALL[stage].function(stage)
    with arithmetic_of(settings) as arithmetic:
        found = function(store, settings, progress, from_parts=True)
    for key in {header.key for header in headers}:  # those that came when all was there
        drop_parts(store, stage, key)
    outcome.computed += len(headers)
    outcome.layers += [layer for layer in found.layers if layer not in outcome.layers]
    outcome.notes += [*found.notes, *arithmetic.notes]
    outcome.details |= {name: value for name, value in found.details.items() if name in ("images", "damaged")}


def _by_options(headers: list[PartHeader]) -> list[tuple[dict[str, Any], list[PartHeader]]]:
    """Parts that were made with the same options; of collect there is one pass at a time."""
    found: list[tuple[dict[str, Any], list[PartHeader]]] = []
    for header in headers:
        own = [ours for options, ours in found if header.stage == COLLECT or options == options_of(header)]
        if own:
            own[0].append(header)
        else:
            found.append((options_of(header), [header]))
    return found
