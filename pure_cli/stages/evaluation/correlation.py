"""Do distances among references agree with the judge's: correlation of pairwise distances."""

import numpy as np

from pure_cli.core.metrics.correlation import correlation
from pure_cli.stages.evaluation.study import Result, Study, Table, finite

# Dreyer et al. 2024: ResNet101, 1000 neurons, CLIP
PUBLISHED = {"dinov2": 0.57, "pure": 0.38, "activation-mean": 0.17}
PUBLISHED_JUDGE = "clip"


def compute(study: Study) -> Result:
    """Correlation of every kind of features with the judge."""
    result = Result()
    judge, excites = list(study.rows(study.judge)), list(study.excites())
    kinds = [features for features in study.features if features != study.judge]
    columns, rows = ["features", "r", "subsets", "left out"], []
    for done, features in enumerate(kinds, 1):
        found = correlation(list(study.rows(features)), judge, excites, study.seed)
        result.arrays[f"{features}/r"] = np.asarray(found.values)
        row = {
            "features": features,
            "r": finite((found.mean, found.error)),
            "subsets": len(found.values),
            "left out": found.left_out,
        }
        if study.judge == PUBLISHED_JUDGE:
            row["published"] = PUBLISHED.get(features)
        rows.append(row)
        study.progress(done, len(kinds))
    if study.judge == PUBLISHED_JUDGE:
        columns.append("published")
    note = "Pearson r of pairwise distances within neurons; mean ± error over disjoint subsets of neurons."
    title = f"{study.layer}: correlation with distances of {study.judge} embeddings, {len(study.neurons)} neurons"
    result.tables.append(Table("correlation", title, columns, rows, note))
    return result
