"""Whether other references, or another seed, give the same virtual neurons."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pure_cli.core.metrics.stability import bootstrap_agreements, seed_stability
from pure_cli.stages.evaluation.metric import Metric, Neuron, by_neuron
from pure_cli.stages.evaluation.study import Study

SEEDS = 5
COLUMNS = ("bootstrap", "seeds", "kept")


def stability(neuron: Neuron) -> Mapping[str, float | np.ndarray]:
    """Agreement of clusterings of bootstrap samples, and of other seeds, with each other."""
    present = neuron.points[neuron.excites]
    if len(present) <= neuron.k:
        return dict.fromkeys(COLUMNS, np.nan)
    seeds = [neuron.seed + s for s in range(SEEDS)]
    bootstrap = bootstrap_agreements(present, neuron.k, neuron.seed)
    return dict(zip(COLUMNS, (bootstrap, *seed_stability(present, neuron.k, seeds)), strict=True))


def _verdict(study: Study, rows: list[dict[str, Any]], best: int | None) -> str:
    if best is None:
        return f"The neurons of '{study.layer}' have too few references to tell how stable their virtual neurons are."
    found = rows[best]
    return (
        f"{found['features']} at k = {found['k']} is the most stable in '{study.layer}': bootstrap samples of the "
        f"references agree with an adjusted Rand index of {found['bootstrap'][0]:.2f}."
    )


NOTE = (
    "Bootstrap: adjusted Rand index between the clustering and those of bootstrap samples; seeds: between pairs of "
    f"{SEEDS} seeds; kept: share of references that keep their virtual neuron across seeds (Hungarian match). "
    "±: standard error over neurons; noise: of the mean over bootstrap samples, by their own deviation. "
    "*: the most stable."
)
METRIC = Metric(by_neuron(stability, "stability", COLUMNS, "stability of virtual neurons", NOTE, _verdict), version=3)
