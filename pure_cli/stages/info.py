"""info: what a workspace holds, and what of it is stale and why. Loads no model."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pure_cli.artifacts import (
    Clustering,
    Collected,
    clustering_path,
    read_clusterings,
    read_collected,
    read_evaluations,
)
from pure_cli.errors import PureError
from pure_cli.stages.attribute import attribute_depends_on
from pure_cli.stages.cluster import cluster_depends_on
from pure_cli.stages.evaluation.written import ALL, PLANTED
from pure_cli.stages.judges import weights_of
from pure_cli.stages.render import FIGURES, FigureIndex
from pure_cli.stages.sources import Sources
from pure_cli.stages.unchanged import Inputs, changes, inputs_now, lineage
from pure_cli.words import counted
from pure_cli.workspace import PARTIAL, STAGE_FILES, Store

UP_TO_DATE = "up to date"
CHECKED = 1 << 26  # bytes of a file that is read as a whole each time
WRITTEN_TO = {"calibrate": "evaluate"}  # the files of results, where they have another name than their stage


def info(store: Store, verify: bool = False) -> dict[str, Any]:
    """Contents of a workspace, JSON-like.

    Parameters
    ----------
    verify : compare the content of all images with what was collected, and read all files of the workspace as a whole

    Returns
    -------
    dict with "workspace", "files" (name, bytes), "origin", "results": a list of dicts with "stage", "layer", "what",
    "status"; "damaged" images, "notes" on what was left out or guessed, "unfinished" work, "problems" with files that
    cannot be read, and "unchecked" files, which are too large to be read as a whole each time

    Raises
    ------
    PureError
        No such workspace.
    """
    store.require_folder()
    problems = _damaged_files(store, verify)
    found = _contents(store, verify)
    found["problems"] = list(dict.fromkeys([*problems.values(), *found["problems"]]))
    found["unchecked"] = [] if verify else [name for name, size in found["files"].items() if size > CHECKED]
    for result in found["results"]:
        file = WRITTEN_TO.get(result["stage"], result["stage"])
        if file in problems:
            why = f"{store.path(file).name} is damaged"
            result.update(_result(result["stage"], result["layer"], result["what"], why))
    return found


def _damaged_files(store: Store, verify: bool) -> dict[str, str]:
    """What is wrong with files of the workspace: small ones are read as a whole, large ones opened."""
    problems = {}
    for name in STAGE_FILES:
        if store.has(name):
            try:
                if verify or store.path(name).stat().st_size <= CHECKED:
                    store.check(name)
                else:
                    with store.read(name):
                        pass
            except PureError as error:
                problems[name] = str(error)
    return problems


def _contents(store: Store, verify: bool) -> dict[str, Any]:
    """What the files say, as far as they can be read."""
    found: dict[str, Any] = {
        "workspace": str(store.root),
        "files": {name: store.path(name).stat().st_size for name in STAGE_FILES if store.has(name)},
        "origin": {},
        "results": [],
        "damaged": [],
        "notes": [],
        "problems": [],
        "unfinished": sorted(p.name for p in (store.root / PARTIAL).glob("*"))
        if (store.root / PARTIAL).is_dir()
        else [],
    }
    if not store.has("collect"):
        return found
    try:
        collected = read_collected(store)
    except PureError as error:
        found["problems"].append(str(error))
        return found
    found["origin"] = collected.origin
    found["damaged"] = collected.damaged
    stale = _collect_results(store, collected, found, verify)
    sources = Sources(store)
    try:
        attributed = sources.attributed if store.has("attribute") else {}
        embedded = sources.embedded
    except PureError as error:
        found["problems"].append(str(error))
        return found
    for name, layer in attributed.items():
        why = stale.get(name) if name in collected.layers else "its references are gone"
        if why is None:
            made_from = attribute_depends_on(collected, name, layer.settings)[1]
            why = _changed(layer.made_from, made_from)
        stale[f"attribute {name}"] = why
        what = f"{len(layer.neuron)} neurons × {layer.image.shape[1]} references at {', '.join(layer.lower_layers)}"
        found["results"].append(_result("attribute", name, f"{what}, {layer.settings['rule']}", why))
    for (name, kind), rows in embedded.items():
        why = stale.get(name) if name in collected.layers else "its references are gone"
        if why is None:
            why = _changed(rows.made_from, sources.embed_lineage(name))
        stale[f"{kind} {name}"] = why
        what = f"{len(rows.neuron)} neurons × {rows.shape[0]} references, {kind}, crop {rows.settings['crop']}"
        weights = weights_of(rows.recipe)
        what += f", {weights}" if weights else ""
        found["results"].append(_result("embed", name, what, why))
    try:
        clusterings = read_clusterings(store)
    except PureError as error:
        found["problems"].append(str(error))
        clusterings = {}
    alike: dict[tuple[str, str, str | None], list[int | str]] = {}
    for path, clustering in clusterings.items():
        own = clustering.settings
        where = "attribute" if f"{own['features']} {own['layer']}" not in stale else own["features"]
        why = stale.get(f"{where} {own['layer']}", "its features are gone")
        if why is None:
            source = sources.of(own["layer"], own["features"], check=False)
            why = _changed(clustering.made_from, cluster_depends_on(source, own["k"], own["seed"])[1])
        stale[path] = why
        what = f"{counted(len(clustering.neuron), 'neuron')}, {own['features']} features, k = "
        alike.setdefault((own["layer"], what, why), []).append(own["k"])
    found["results"] += [
        _result("cluster", layer, what + ", ".join(map(str, sorted(ks, key=str))), why)
        for (layer, what, why), ks in alike.items()
    ]
    found["results"] += _evaluations(store, sources, clusterings, stale, found["problems"])
    figures = Counter(entry["clustering"] for entry in FigureIndex(store.root / FIGURES))
    for path, count in figures.items():
        why = stale.get(path, "its virtual neurons are gone")
        made_from_now = path in clusterings and clusterings[path].fingerprint
        old = sum(
            e["clustering"] == path and e["fingerprint"] != made_from_now for e in FigureIndex(store.root / FIGURES)
        )
        if why is None and old:
            why = f"the virtual neurons of {old} changed"
        _, layer, features, k = path.split("/")
        what = f"{count} figures, {features} features, k = {k[1:]}"
        found["results"].append(_result("render", layer, what, why))
    return found


def _collect_results(store: Store, collected: Collected, found: dict[str, Any], verify: bool) -> dict[str, str | None]:
    """Adds the references to the results; returns for every layer why it is stale, None where it is not."""
    stale: dict[str, str | None] = {}
    now: Inputs | None = None
    try:
        now = inputs_now(store, collected, verify)
        found["problems"] += _of_images(now)
        found["notes"] += now.listing.notes
    except PureError as error:
        found["problems"].append(f"It cannot be told whether the references are up to date: {error}")
    for name, layer in collected.layers.items():
        why = "what they were made from cannot be read" if now is None else _why(now.differing(layer))
        stale[name] = why
        score = layer.settings.get("score", {})
        by = f", by {score.get('by', 'activation')} ({score['pool']} over space)" if score else ""
        what = f"{layer.neurons} neurons × {layer.settings['n']} references{by}"
        if ranked := layer.settings.get("ranked_by"):
            what += f", by what goes into {ranked['function']}"
        if tied := int((layer.tied > 0).sum()):
            what += f", {tied:,} with equal scores"
        found["results"].append(_result("collect", name, what, why))
    return stale


def _of_images(now: Inputs) -> Iterator[str]:
    """Which images changed, and what cannot be told of them."""
    drift, count = now.drift, counted(len(now.drift.changed), "image")
    if len(drift.changed):
        yield f"{count} changed on disk since the references were collected: {drift.names(now.listing)}."
    if drift.compared < drift.touched:
        yield (
            f"{counted(drift.touched, 'image')} have another time of change than when they were collected; "
            f"{drift.compared:,} were compared. `pure info --verify` compares all."
        )


def _evaluations(
    store: Store,
    sources: Sources,
    clusterings: dict[str, Clustering],
    stale: dict[str, str | None],
    problems: list[str],
) -> Iterator[dict[str, Any]]:
    """What was measured, and whether the virtual neurons and the judge are still what they were."""
    try:
        evaluations = read_evaluations(store)
    except PureError as error:
        problems.append(str(error))
        return
    for key, evaluation in evaluations.items():
        own, layer = evaluation.settings, evaluation.settings["layer"]
        paths = {name: clustering_path(layer, *name.rsplit(" k", 1)) for name in evaluation.made_from["cluster"]}
        now = {name: clusterings[path].fingerprint for name, path in paths.items() if path in clusterings}
        judge = sources.embeddings(layer).get(own["judge"])
        why = None
        if now != evaluation.made_from["cluster"] or any(stale[path] for path in paths.values()):
            why = "its virtual neurons changed"
        elif own["judge"] and (judge is None or judge.fingerprint != evaluation.made_from["judge"]):
            why = f"the {own['judge']} embeddings changed"
        name, _, run = key.split("/")
        if own["metric"] == PLANTED:
            there = sources.collected.layers.get(layer)
            now_from = there and lineage(there, "collect")
            why = stale.get(layer, "its references are gone")
            why = why or ("the references changed" if now_from != evaluation.made_from["collect"] else None)
            yield _result("calibrate", layer, f"units with known meanings, budget {own['budget']:g}", why)
            continue
        what = f"{name}, {counted(len(own['neurons']), 'neuron')}, k = {', '.join(map(str, own['k']))}"
        yield _result("evaluate", layer, what if run == ALL else f"{what} ({run})", why)


def _changed(then: dict[str, Any], now: dict[str, Any]) -> str | None:
    return _why(changes(then, now))


def _why(differing: list[str]) -> str | None:
    """In words, that these changed; None where nothing did."""
    return f"{' and '.join(differing)} changed" if differing else None


def _result(stage: str, layer: str, what: str, why: str | None) -> dict[str, Any]:
    return {
        "stage": stage,
        "layer": layer,
        "what": what,
        "stale": why,
        "status": UP_TO_DATE if why is None else f"stale: {why}",
    }
