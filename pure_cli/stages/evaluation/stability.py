"""Would other references, or another seed, give the same virtual neurons."""

from typing import Any

import numpy as np

from pure_cli.core.clusters import one_thread
from pure_cli.core.metrics.stability import bootstrap_stability, seed_stability
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation.study import Result, Study, Table, finite, highest

SEEDS = 5


def compute(study: Study) -> Result:
    """Agreement of clusterings of bootstrap samples, and of other seeds, with each other."""
    result = Result(arrays={"neuron": study.neurons})
    excites, rows = study.excites(), []
    keys = [(features, k) for features in study.features for k in study.ks]
    total, done = len(keys) * len(study.neurons), 0
    for features, k in keys:
        found = np.full((len(study.neurons), 3), np.nan)
        with one_thread():
            for i, points in enumerate(study.rows(features)):
                present = points[excites[i]]
                if len(present) > k:
                    seeds = [study.seed + s for s in range(SEEDS)]
                    found[i] = bootstrap_stability(present, k, study.seed), *seed_stability(present, k, seeds)
                study.progress(done := done + 1, total)
        for column, name in enumerate(("bootstrap", "seeds", "kept")):
            result.arrays[f"{features}/k{k}/{name}"] = found[:, column]
        rows.append(
            {
                "features": features,
                "k": k,
                "bootstrap": finite(mean_and_error(found[:, 0])),
                "seeds": finite(mean_and_error(found[:, 1])),
                "kept": finite(mean_and_error(found[:, 2])),
            }
        )
    title = f"{study.layer}: stability of virtual neurons, {study.who(excites.sum(axis=1) > min(study.ks))}"
    note = (
        "Bootstrap: adjusted Rand index between the clustering and those of bootstrap samples; seeds: between pairs of "
        f"{SEEDS} seeds; kept: share of references that keep their virtual neuron across seeds (Hungarian match). "
        "*: the most stable."
    )
    best = highest(rows, "bootstrap")
    columns = ["features", "k", "bootstrap", "seeds", "kept"]
    result.tables.append(Table("stability", title, columns, rows, note, _verdict(study, rows, best), best))
    return result


def _verdict(study: Study, rows: list[dict[str, Any]], best: int | None) -> str:
    if best is None:
        return f"The neurons of '{study.layer}' have too few references to tell how stable their virtual neurons are."
    found = rows[best]
    return (
        f"{found['features']} at k = {found['k']} is the most stable in '{study.layer}': bootstrap samples of the "
        f"references agree with an adjusted Rand index of {found['bootstrap'][0]:.2f}."
    )
