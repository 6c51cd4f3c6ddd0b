"""Distances within and across virtual neurons, the paper's main table."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pure_cli.core.metrics.separation import pairwise_distances, separations
from pure_cli.core.metrics.statistics import mean_and_error
from pure_cli.stages.evaluation import published
from pure_cli.stages.evaluation.metric import Figures, Metric
from pure_cli.stages.evaluation.noise import BOLD, NOISE, SAYS, Scores, add_noise, bold, reseeded
from pure_cli.stages.evaluation.study import Result, Study, Table, ahead_and_behind, compared, finite, highest
from pure_cli.words import counted

PUBLISHED = ["published intra", "published inter"]
COLUMNS = ("intra", "inter", "inter − intra")


def compute(study: Study) -> Result:
    """Intra and inter distance for every kind of features and k."""
    count = len(study.neurons)
    values = {(features, k): np.full((count, 2), np.nan) for features in study.features for k in study.ks}
    overall = np.full(count, np.nan)
    judges = (study.judge, min(study.ks))  # its own clusters, compared or not
    own = values.get(judges, np.full((count, 2), np.nan))
    split = {**values, judges: own}
    labels = {key: study.labels(*key) for key in split}
    of_turns = [turn for key in values for turn in reseeded(study, *key)]
    all_labels = np.stack([*labels.values(), *of_turns], axis=1)  # (N, splits, n)
    again = np.full((count, len(of_turns), 2), np.nan)
    for i, points in enumerate(study.rows(study.judge)):
        intra, inter, of_all = separations(pairwise_distances(points), all_labels[i])
        for place, found in enumerate(split.values()):
            found[i] = intra[place], inter[place]
        again[i] = np.stack([intra, inter], axis=1)[len(split) :]
        overall[i] = of_all[0]
        study.progress(i + 1, count)
    turns = dict(zip(values, np.split(again.transpose(1, 0, 2), len(values)), strict=True))  # (T, N, 2)
    result = Result(_arrays(study, overall, values, turns))
    whole = study.neurons_in_words(np.isfinite(overall))
    table = _table(study, values, turns, overall, np.ones(count, bool), "all", whole)
    gaps = {key: found[:, 1] - found[:, 0] for key, found in values.items()}
    title = f"{study.layer}: inter − intra of {study.judge_in_words()}, compared neuron by neuron"
    differences = compared(study, gaps, "separation-differences", title)
    result.tables += [replace(table, verdict=_verdict(study, table, differences)), *differences]
    result.tables += _polysemantic(study, values, turns, own[:, 1] - own[:, 0], overall)
    return result


def _arrays(
    study: Study,
    overall: np.ndarray,
    values: dict[tuple[str, int], np.ndarray],
    turns: dict[tuple[str, int], np.ndarray],
) -> dict[str, np.ndarray]:
    """For ``evaluate.h5``."""
    found = {"neuron": study.neurons, "overall": overall}
    for (features, k), own in values.items():
        for place, column in enumerate(COLUMNS[:2]):
            path = f"{features}/k{k}/{column}"
            found[path], found[f"{path}-reseeded"] = own[:, place], turns[features, k][:, :, place]
    return found


def _table(
    study: Study,
    values: dict[tuple[str, int], np.ndarray],
    turns: dict[tuple[str, int], np.ndarray],
    overall: np.ndarray,
    which: np.ndarray,
    name: str,
    neurons: str,
) -> Table:
    columns = ["features", "k", *COLUMNS, f"{COLUMNS[-1]} {NOISE}"]
    same = name == "all" and published.K in study.ks and published.same_setting(study)
    rows = []
    for (features, k), of_all in values.items():
        found = of_all[which]
        row: dict[str, Any] = {"features": features, "k": k}
        of_columns = (found[:, 0], found[:, 1], found[:, 1] - found[:, 0])
        row |= {name: finite(mean_and_error(own)) for name, own in zip(COLUMNS, of_columns, strict=True)}
        if same:
            theirs = published.SEPARATION.get(features, (None, None)) if k == published.K else (None, None)
            row |= dict(zip(PUBLISHED, theirs, strict=True))
        rows.append(row)
    random = finite(mean_and_error(overall[which]))
    last: dict[str, Any] = {"features": "random", "k": None, "intra": random, "inter": random, "inter − intra": None}
    rows.append({**last, **dict.fromkeys(PUBLISHED, published.RANDOM)} if same else last)
    scores = _scores([found[which] for found in values.values()], [found[:, which] for found in turns.values()])
    add_noise(rows, scores)
    note = f"Intra: lower is better; inter: higher is better; random: dealt at random. {SAYS} *: the widest gap. {BOLD}"
    if same:
        columns += PUBLISHED
        note += published.NOTE
    title = f"{study.layer}: distances of {study.judge_in_words()}, {neurons}"
    best, marked = highest(rows, COLUMNS[-1], study.judge), bold(scores, rows, study.seed, study.judge)
    beside = [f"{column} {NOISE}" for column in COLUMNS[:2]]
    return Table(
        f"separation-{name}", title, columns, rows, note, best=best, bold=marked, beside=beside, headline=COLUMNS[-1]
    )


def _scores(values: Sequence[np.ndarray], turns: Sequence[np.ndarray]) -> dict[str, Scores]:
    """By column, from intra and inter distances (N, 2), and (T, N, 2) of turns."""
    intra, inter, gap = (
        ([part(own) for own in values], [part(own) for own in turns])
        for part in (lambda own: own[..., 0], lambda own: own[..., 1], lambda own: own[..., 1] - own[..., 0])
    )
    return dict(zip(COLUMNS, (Scores(*intra, lower=True), Scores(*inter), Scores(*gap)), strict=True))


def _verdict(study: Study, table: Table, differences: Sequence[Table]) -> str:
    if table.best is None:
        return f"No virtual neurons of '{study.layer}' can be compared: {study.judge} sees no two that differ."
    best = table.rows[table.best]
    gap = best["inter − intra"][0]
    how = "furthest apart" if gap > 0 else "least badly, and no better than at random"
    found = f"{best['features']} at k = {best['k']} splits '{study.layer}' {how} in the eyes of {study.judge}: "
    return f"{found}inter − intra is {gap:.3g}. {ahead_and_behind(study, differences)}".rstrip()


def _polysemantic(
    study: Study,
    values: dict[tuple[str, int], np.ndarray],
    turns: dict[tuple[str, int], np.ndarray],
    gap: np.ndarray,
    overall: np.ndarray,
) -> list[Table]:
    """The same for the neurons that the judge's own clustering splits most clearly."""
    if not np.isfinite(overall).any():
        return []
    threshold, why = study.threshold, ""
    if threshold is None and published.by_clip(study):
        threshold, why = published.POLYSEMANTIC, ", as in the paper,"
    elif threshold is None:
        threshold = published.POLYSEMANTIC / published.RANDOM * float(np.nanmean(overall))
        why = f" (the paper's {published.POLYSEMANTIC:g} in the scale of this judge)"
    which = gap > threshold
    neurons = f"{counted(int(which.sum()), 'neuron')} that the judge itself splits by more than {threshold:.3g}{why}"
    if not which.any() and np.isfinite(gap).any():
        neurons += f"; the largest gap is {np.nanmax(gap):.3g},"
    return [_table(study, values, turns, overall, which, "polysemantic", f"{neurons} at k = {min(study.ks)}")]


def figures(tables: list[dict[str, Any]], arrays: Callable[[str], np.ndarray]) -> Figures:
    from pure_cli.views.evaluation import overview, separation_bars

    rows, judge = tables[0]["rows"], tables[0]["judge"]
    k = min(row["k"] for row in rows if row["k"])
    shown = [row for row in rows if row["k"] == k]
    random = next(row["intra"] for row in rows if row["features"] == "random")
    yield f"bars-k{k}", separation_bars(shown, random, judge, k)
    first = shown[0]["features"]
    gap = arrays(f"{first}/k{k}/inter") - arrays(f"{first}/k{k}/intra")
    yield f"overview-{first}-k{k}", overview(arrays("neuron"), arrays("overall"), gap, judge, first, k)


METRIC = Metric(compute, judged=True, options=("polysemantic",), figures=figures, version=3)
