"""What is said of the split of a neuron, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pure_cli.core.clusters import CLEAR, WEAK
from pure_cli.core.meanings import ALPHA


def split_words(silhouette: float) -> str:
    """A silhouette in words, by Kaufman and Rousseeuw's bounds."""
    if silhouette >= CLEAR:
        return "a clear split"
    return "a weak split" if silhouette >= WEAK else "hardly a split"


def one_words(refused_by: str | None, p: float, polysemanticity: float, threshold: float) -> str:
    """Why a neuron was not split where k was chosen; parameters as of `pure_cli.stages.cluster.tables`."""
    if refused_by == "p":
        return f"no split is clearer than those of a single Gaussian cloud are (p = {p:.2g}, above {ALPHA})."
    found = f"p = {p:.2g}, polysemanticity {polysemanticity:.2f}"
    if refused_by == "threshold":
        limit = f", which is no more than {threshold:.2f}" if threshold else ""
        return f"the clearest split stands out too little ({found}{limit})."
    return f"the gap statistic finds no number of clusters that is better than one ({found})."


def verdict(silhouette: float, split: bool, k: int | str, chosen: Mapping[str, Any]) -> str:
    """A sentence on the split of a neuron; "" where no reference has a virtual neuron.

    Parameters
    ----------
    silhouette : of the split, NaN where there are not two virtual neurons
    split : some references have a virtual neuron
    k : of the clustering
    chosen : of `pure_cli.stages.cluster.chosen_by`
    """
    tests = "; p = {p:.2g}, polysemanticity {polysemanticity:.2f}".format_map(chosen) if chosen else ""
    if math.isfinite(silhouette):
        return f"k-means silhouette {silhouette:.2f}: {split_words(silhouette)}{tests}."
    if not split:
        return ""
    alike = "k = 1 was wanted." if k == 1 else "its references are alike."
    return f"One virtual neuron: {one_words(**chosen) if chosen else alike}"
