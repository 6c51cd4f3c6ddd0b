"""What `pure calibrate` measured on units with known meanings."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pure_cli.settings.calibrate import CalibrateSettings
from pure_cli.settings.evaluate import EvaluateSettings
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.result_files import PLANTED
from pure_cli.stages.outcome import Outcome, Progress
from pure_cli.workspace import Store


def calibrated(store: Store, settings: EvaluateSettings, progress: Progress) -> Outcome:
    """What `calibrate` measures."""
    from pure_cli.stages.calibrate import calibrate

    own = CalibrateSettings(
        layer=settings.layer, seed=settings.seed, latex=settings.latex, force=settings.force, verify=settings.verify,
        **settings.running,
    )  # fmt: skip
    return calibrate(store, own, progress, any_budget=True)


def figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
    from pure_cli.views.evaluation import planted_bars

    for table in tables:
        if any("ARI, 2" in row for row in table["rows"]):
            name = table["name"].removeprefix(f"{PLANTED}-")
            yield f"{name}-bars", planted_bars(table["rows"], name)


METRIC = Metric(None, figures=figures, instead=calibrated)
