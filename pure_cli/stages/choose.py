"""choose: which clustering the addresses of a layer's virtual neurons mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pure_cli.artifacts import Choice, Clustering, need_clusterings, need_layers, read_choices, write_choices
from pure_cli.errors import PureError, UnreadableFile
from pure_cli.settings.choose import ChooseSettings
from pure_cli.stages.inputs.choice import BY_RECIPE, calibrated, chosen, in_words, there_are
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.workspace import Store


def choose(store: Store, settings: ChooseSettings, progress: Progress = silent) -> Outcome:
    """Choose among the clusterings that are there, and write ``choice.json``.

    Raises
    ------
    PureError
        There is no such clustering.
    """
    begin, clusterings = time.perf_counter(), need_clusterings(store)
    there = there_are(clusterings.values())
    layers = need_layers(settings.layer, there, "cluster")
    if settings.force:
        _forget_unreadable(store)
    wanted = {layer: _wanted(store, settings, layer, clusterings) for layer in layers}
    new = {layer: choice for layer, choice in wanted.items() if choice is not None}
    before = read_choices(store)
    changed = {layer: choice for layer, choice in new.items() if before.get(layer) != choice}
    if changed:
        write_choices(store, {**before, **changed})
    progress(len(layers), len(layers))
    meant = {layer: chosen(store, layer, clusterings) for layer in layers}
    details = {
        "choices": {layer: {"features": one.features, "k": one.k} for layer, one in meant.items()},
        "tables": [_table(layer, there[layer], meant[layer]) for layer in layers],
    }
    return Outcome("choose", layers, len(changed), "layers", seconds=time.perf_counter() - begin, details=details)


def _forget_unreadable(store: Store) -> None:
    try:
        read_choices(store)
    except UnreadableFile:
        write_choices(store, {})


def _wanted(store: Store, settings: ChooseSettings, layer: str, clusterings: Mapping[str, Clustering]) -> Choice | None:
    """What is to be chosen; None where nothing is said."""
    there = there_are(clusterings.values())[layer]
    features: str | None = settings.features
    k: int | str | None = settings.k
    if settings.recipe is not None:
        recipe = BY_RECIPE.get(settings.recipe) or calibrated(store, layer)
        if recipe is None:
            raise PureError(
                f"'{layer}' is not calibrated in this workspace. Run `pure calibrate --layer {layer}` first."
            )
        features, k = features or recipe.features, k if k is not None else recipe.k
    if features is None and k is None:
        return None
    if features is None or k is None:
        now = read_choices(store).get(layer) or chosen(store, layer, clusterings)
        features, k = features or now.features, now.k if k is None else k
    if (wanted := Choice(features, k)) not in there:
        raise PureError(
            f"'{layer}' has no virtual neurons by {wanted}. "
            f"Run `pure cluster` to add them, or choose of: {in_words(there)}."
        )
    return wanted


def _table(layer: str, there: list[Choice], meant: Choice) -> dict[str, Any]:
    rows = [{"features": one.features, "k": one.k, "addresses": "these" if one == meant else ""} for one in there]
    return {
        "name": "choices",
        "title": f"{layer}: what there is to choose from",
        "columns": ["features", "k", "addresses"],
        "rows": rows,
        "best": there.index(meant),
        "note": "",
        "verdict": f"{layer}/NEURON.NUMBER is a virtual neuron by {meant}.",
    }
