"""benchmark: methods that split neurons, held against frozen units whose meanings are known."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pure_cli.files import write_whole
from pure_cli.settings.benchmark import BenchmarkSettings
from pure_cli.stages.benchmarking.leaderboard import as_csv, leaderboard_rows
from pure_cli.stages.benchmarking.measure import measure, try_out
from pure_cli.stages.benchmarking.methods import Function, chosen
from pure_cli.stages.benchmarking.opening import find_track, opened
from pure_cli.stages.benchmarking.tables import tables
from pure_cli.stages.outcome import Outcome, Progress, silent

STEPS, IMAGES_SHARE = 100, 5  # of the progress, and of these for the comparison of the images


def benchmark(settings: BenchmarkSettings, functions: Sequence[Function] = (), progress: Progress = silent) -> Outcome:
    """Measure methods on a track.

    Parameters
    ----------
    functions : methods in Python, beside those that the settings name

    Raises
    ------
    PureError
        No such track or method, other weights or images than the track's, or a method fails.
    PureFailure
        The file of rows cannot be written.
    """
    begin = time.perf_counter()
    track = find_track(settings.track)
    methods = chosen(track, settings.method or [], functions, settings.name, settings.builtin)
    try_out(track, methods)
    with opened(settings, track, lambda done, total: progress(IMAGES_SHARE * done // total, STEPS)) as bench:
        found = measure(
            bench, methods, lambda done: progress(IMAGES_SHARE + (STEPS - IMAGES_SHARE) * done // len(track), STEPS)
        )
    rows = leaderboard_rows(found, settings.link)
    if settings.row is not None:
        write_whole(settings.row, as_csv(rows))
    details = {
        "track": track.name,
        "version": track.version,
        "tables": [table.as_dict() for table in tables(found)],
        "rows": rows,
        "methods": {method.name: method.about for method in methods},
    }
    return Outcome("benchmark", [track.layer], len(track), "units", [], time.perf_counter() - begin, details)
