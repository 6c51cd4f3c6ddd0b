"""evaluate: how good virtual neurons are, by every metric, for all kinds of features and all k."""

import time
from contextlib import suppress
from typing import Any

import numpy as np

from pure_cli.artifacts import NeuronRows, read_clusterings
from pure_cli.config import fingerprint
from pure_cli.core.bands import BAND
from pure_cli.core.directions import AT, module_of
from pure_cli.core.features import ACTIVATION_FEATURES
from pure_cli.errors import PureError, unknown
from pure_cli.provenance import Provenance
from pure_cli.registry import METRICS
from pure_cli.settings.cluster import ClusterSettings
from pure_cli.settings.embed import EmbedSettings
from pure_cli.settings.evaluate import EvaluateSettings
from pure_cli.settings.shared import FLOAT32, USUAL
from pure_cli.stages.cluster import add_clusterings
from pure_cli.stages.embed import add_embeddings
from pure_cli.stages.embeddings.judges import is_embedder_name, kind_of, require_embeddings, warnings
from pure_cli.stages.evaluation.measured import Measured
from pure_cli.stages.evaluation.result_files import ALL, SEPARATION, ResultFiles, ResultKey, publish
from pure_cli.stages.evaluation.study import Study
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.waiting import waiting_for
from pure_cli.words import computed_in, counted, listed
from pure_cli.workspace import Store

DEFAULT_JUDGE = "clip"
LONGEST = 60  # letters of a run's name
NOT_ELSEWHERE = ("controls", "neurons", "features", "k", "judge")  # options that metrics of other stages do not heed


def evaluate(store: Store, settings: EvaluateSettings, progress: Progress = silent) -> Outcome:
    """Compute the metrics that are not there yet, and write ``evaluate.h5`` and ``evaluate.json``.

    Raises
    ------
    PureError
        An unknown metric, no embeddings of the judge, no labels, results of earlier stages that are missing or stale.
    """
    begin = time.perf_counter()
    elsewhere = [name for name in settings.metric if name in METRICS and METRICS[name].instead]
    if elsewhere:
        return _with_other_stages(store, settings, elsewhere, progress)
    done, notes = _measure(store, settings, progress)
    if settings.controls:
        from pure_cli.stages.controls.beside import with_controls

        done = with_controls(store, settings, done, _measure, progress, notes)
    layers = list(dict.fromkeys(one.where.layer for one in done))
    outcome = Outcome("evaluate", layers, sum(one.anew for one in done), "metrics")
    outcome.notes = list(dict.fromkeys(notes))
    tables = [{"metric": one.name, "layer": one.where.layer, **table} for one in done for table in one.tables]
    folders = [str(store.root / one.where.folder) for one in done]
    outcome.details = {"tables": tables, "folders": list(dict.fromkeys(folders))}
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _measure(store: Store, settings: EvaluateSettings, progress: Progress) -> tuple[list[Measured], list[str]]:
    """All metrics of all layers, written; and what the user should know."""
    sources, notes = Sources(store), list[str]()
    if settings.embed:
        notes += _embed(sources, settings, progress)
    result_files = ResultFiles(store, settings.force)
    studies: dict[tuple[str, str], Study] = {}
    reseeds: dict[tuple[Any, ...], dict[int, np.ndarray]] = {}
    done = []
    layers = sources.layers(settings.layer, USUAL)
    one_each = layers if settings.layer else _one_each_module(layers)
    for layer in layers:
        for name in settings.metric:
            if name in METRICS and METRICS[name].by_module and layer not in one_each:
                continue
            metric, judge = _metric(name, settings, sources, layer)
            if (layer, judge) not in studies:
                studies[layer, judge], remarks = _study(sources, layer, judge, settings, progress, reseeds)
                notes += remarks
            study = studies[layer, judge]
            own_name = judge if metric == SEPARATION else f"{name}-by-{judge}" if judge else name
            where, provenance = ResultKey(layer, own_name, _run(settings, metric)), _provenance(metric, study, settings)
            found, anew = _tables(metric, study, where, result_files, provenance)
            if anew:
                notes += study.notes
            publish(store.root, where, metric, found, result_files, settings.latex, anew)
            done.append(Measured(name, metric, study, where, found, provenance, anew))
    return done, notes


def _one_each_module(layers: list[str]) -> list[str]:
    """One layer of each module: the module itself where it is there, else directions in it, else a band."""
    found: dict[str, str] = {}
    for layer in sorted(layers, key=lambda name: (BAND in name, AT in name)):
        found.setdefault(module_of(layer), layer)
    return list(found.values())


def _tables(
    metric: str, study: Study, where: ResultKey, result_files: ResultFiles, provenance: Provenance
) -> tuple[list[dict[str, Any]], bool]:
    """The tables of a metric, and whether it was measured anew, since there were none of the same things."""
    there = result_files.tables(where, provenance)
    if there is not None:
        return there, False
    waiting_for(f"measuring {where.name}")
    compute = METRICS[metric].compute
    assert compute is not None, "measured by evaluate itself"
    result = compute(study)
    tables = [{**table.as_dict(), "judge": study.judge} for table in result.tables]
    rough: dict[str, str] = {}
    for features in study.features:
        rough |= study.sources.precisions(study.layer, features)
    rough |= {"measured": provenance.precision} if provenance.precision != FLOAT32 else {}
    for table in tables if rough else ():
        table["note"] = f"{table['note']} Not in float32: {computed_in(rough)}.".lstrip()
    result_files.add(where, result, tables, provenance)
    return tables, True


def _with_other_stages(store: Store, settings: EvaluateSettings, elsewhere: list[str], progress: Progress) -> Outcome:
    """What other stages measure, and the other metrics that were asked for.

    Raises
    ------
    PureError
        There are options that none of the metrics heeds.
    """
    rest = [name for name in settings.metric if name not in elsewhere]
    fields = EvaluateSettings.model_fields
    given = [f"--{name}" for name in NOT_ELSEWHERE if getattr(settings, name) != fields[name].default]
    verb = "does" if len(given) == 1 else "do"
    without = f"{listed(given)} {verb} not apply to --metric {','.join(dict.fromkeys(elsewhere))}"
    if given and not rest:
        raise PureError(f"{without}. Leave {'it' if len(given) == 1 else 'them'} out, or name another --metric.")
    done = [METRICS[name].instead(store, settings, progress) for name in dict.fromkeys(elsewhere)]  # type: ignore[misc]
    if rest:
        done.append(evaluate(store, settings.model_copy(update={"metric": rest}), progress))
    outcome = Outcome("evaluate", [], 0, "metrics", details={"tables": [], "folders": []})
    outcome.notes += [f"{without}."] if given else []
    for own in done:
        outcome.layers = list(dict.fromkeys([*outcome.layers, *own.layers]))
        outcome.computed += own.computed
        outcome.seconds += own.seconds
        outcome.notes += own.notes
        outcome.details["tables"] += own.details["tables"]
        outcome.details["folders"] = list(dict.fromkeys([*outcome.details["folders"], *own.details["folders"]]))
    return outcome


def _embed(sources: Sources, settings: EvaluateSettings, progress: Progress) -> list[str]:
    """Make the embeddings that the metrics need and that are not there; returns what the reader has to know."""
    wanted = [name for name in [*settings.metric, settings.judge or ""] if name and name not in METRICS]
    needs_judge = any(name in METRICS and METRICS[name].judged for name in settings.metric)
    if not wanted and needs_judge and not sources.embedded:
        wanted = [DEFAULT_JUDGE]
    options: dict[str, Any] = {"layer": settings.layer, "neurons": settings.neurons, **settings.running}
    notes = []
    for name in dict.fromkeys(wanted):
        try:
            notes += add_embeddings(sources, EmbedSettings(embedder=[name], **options), progress).notes
        except PureError as error:  # its options are those of embed
            command = f"pure embed --embedder {name} --embedder-"
            raise type(error)(str(error).replace("--embedder-", command)) from error
    return notes


def _run(settings: EvaluateSettings, metric: str) -> str:
    """A short name for what was asked for beside the metric."""
    parts = []
    if settings.neurons is not None and settings.neurons.strip() != "all":
        parts.append(f"neurons-{settings.neurons.replace(' ', '')}")
    if settings.k != EvaluateSettings.model_fields["k"].default:
        parts.append(f"k-{','.join(map(str, settings.k))}")
    if settings.features:
        parts.append(f"features-{','.join(settings.features)}")
    if settings.seed:
        parts.append(f"seed-{settings.seed}")
    own = {name: getattr(settings, name) for name in METRICS[metric].options if name != "precision"}
    own |= _arithmetic(metric, settings)
    parts += [
        f"{name}-{value:g}" if isinstance(value, float) else f"{name}-{value}"
        for name, value in own.items()
        if value != EvaluateSettings.model_fields[name].default
    ]
    run = "_".join(parts).replace("/", ":")
    if len(run) > LONGEST:
        run = f"{run[: LONGEST - 9]}…{fingerprint(run)[:8]}"
    return run or ALL


def _arithmetic(metric: str, settings: EvaluateSettings) -> dict[str, str]:
    """The precision, where that is not the usual and the network is run: of some metrics for a sample alone."""
    options = METRICS[metric].options
    runs = "precision" in options and ("sample" not in options or settings.sample)
    return settings.arithmetic if runs else {}


def _metric(name: str, settings: EvaluateSettings, sources: Sources, layer: str) -> tuple[str, str]:
    """What a name after ``--metric`` means: the metric, and the embeddings that judge ("" for none)."""
    there = list(sources.embeddings(layer))
    if name not in METRICS:
        if name not in there and not is_embedder_name(name):
            hint = "The name of an embedder (clip, dinov2, …) is a metric too: its embeddings judge."
            raise unknown("metric", name, [*METRICS, *there], hint)
        judge = kind_of(name, sources, layer)
        require_embeddings(sources, layer, judge)
        return SEPARATION, judge
    if not METRICS[name].judged:
        return name, ""
    if settings.judge:
        judge = kind_of(settings.judge, sources, layer)
        require_embeddings(sources, layer, judge)
        return name, judge
    if not there:
        require_embeddings(sources, layer, DEFAULT_JUDGE)
    if len(there) > 1 and DEFAULT_JUDGE not in there:
        raise PureError(f"Name the embeddings that judge with --judge: {', '.join(there)}.")
    return name, DEFAULT_JUDGE if DEFAULT_JUDGE in there else there[0]


def _study(
    sources: Sources,
    layer: str,
    judge: str,
    settings: EvaluateSettings,
    progress: Progress,
    reseeds: dict[tuple[Any, ...], dict[int, np.ndarray]],
) -> tuple[Study, list[str]]:
    """The neurons and clusterings to compare, and what of them is left out; clusterings that are not there are made."""
    notes: list[str] = []
    features = [sources.named(layer, kind) for kind in settings.features or [USUAL, *ACTIVATION_FEATURES]]
    needed = list(dict.fromkeys([*features, *([judge] if judge else [])]))
    neurons = _neurons_with_all(needed, sources, layer, settings, notes)
    features += [] if settings.features else _complete(sources, layer, neurons, notes)
    if judge:
        notes += warnings(judge, sources.embedded[layer, judge].recipe, sources.collected.origin)
    ks = _possible(settings.k, sources, layer)
    listed = ",".join(map(str, neurons.tolist()))
    wanted = ClusterSettings(layer=[layer], neurons=listed, features=features, k=ks, seed=settings.seed)
    add_clusterings(sources, wanted, progress)
    if judge and judge not in features:
        add_clusterings(sources, wanted.model_copy(update={"features": [judge], "k": [min(ks)]}), progress)
    study = Study(
        sources,
        layer,
        neurons,
        features,
        ks,
        judge,
        settings.seed,
        settings.polysemantic,
        settings.sample,
        settings,
        read_clusterings(sources.store),
        progress,
        reseeds=reseeds,
    )
    return study, notes


def _neurons_with_all(
    features: list[str], sources: Sources, layer: str, settings: EvaluateSettings, notes: list[str]
) -> np.ndarray:
    """(N,) int64, the neurons that have each of some kinds of features; a note says which kinds lack some.

    Raises
    ------
    PureError
        There are none, or one that was named lacks a kind.
    """
    count = sources.collected.layers[layer].neurons
    for kind in features:
        sources.layers([layer], kind)
    neurons = sources.features_of(layer, features[0]).choose(settings.neurons, count)
    for kind in features[1:]:
        there = sources.features_of(layer, kind)
        if settings.neurons is not None:
            there.choose(settings.neurons, count)
        elif len(kept := np.intersect1d(neurons, there.neuron)) < len(neurons):
            notes.append(
                f"{len(kept):,} of {counted(len(neurons), 'neuron')} of '{layer}' have {kind} features; the others are "
                f"left out. Run `{there.command} --layer {layer}` to add them."
            )
            neurons = kept
    if not len(neurons):
        raise PureError(
            f"No neuron of '{layer}' has all of {', '.join(features)}. Give the same --neurons to each stage."
        )
    return neurons


def _complete(sources: Sources, layer: str, neurons: np.ndarray, notes: list[str]) -> list[str]:
    """The embeddings that all of the neurons have; a note says which some lack or are stale."""
    complete: list[str] = []
    rest: list[str] = []
    for kind in sources.embeddings(layer):
        there = np.empty(0, np.int64)
        with suppress(PureError):
            there = sources.features_of(layer, kind).neuron
        (complete if np.isin(neurons, there).all() else rest).append(kind)
    if rest:
        notes.append(
            f"Not compared on '{layer}', since they are stale or lack some of the neurons: {', '.join(rest)}. "
            "Run `pure embed` for them, or choose with --features."
        )
    return complete


def _possible(ks: list[int], sources: Sources, layer: str) -> list[int]:
    """The numbers of clusters; of the usual ones those that there are references for."""
    if ks != EvaluateSettings.model_fields["k"].default:
        return ks
    return [k for k in ks if k <= sources.collected.layers[layer].most_references] or [1]


def _provenance(metric: str, study: Study, settings: EvaluateSettings) -> Provenance:
    own = {
        "metric": metric,
        "layer": study.layer,
        "judge": study.judge,
        "neurons": study.neurons.tolist(),
        "features": study.features,
        "k": study.ks,
        "seed": study.seed,
        "polysemantic": study.threshold,
        "sample": settings.sample if "sample" in METRICS[metric].options else 0,
        "version": METRICS[metric].version,
    }
    own |= {name: getattr(settings, name) for name in ("ablation", "between") if name in METRICS[metric].options}
    own |= _arithmetic(metric, settings)
    keys = [(kind, k) for kind in study.features for k in study.ks]
    if metric == SEPARATION and study.judge not in study.features:
        keys.append((study.judge, min(study.ks)))
    clusterings = {f"{kind} k{k}": study.clustering(kind, k).provenance.fingerprint for kind, k in keys}
    judge: NeuronRows | None = study.sources.embedded.get((study.layer, study.judge))
    made_from: dict[str, Any] = {"cluster": clusterings, "judge": judge.provenance.fingerprint if judge else ""}
    if beside := METRICS[metric].beside:
        made_from["beside"] = beside(study)
    return Provenance(own, made_from)
