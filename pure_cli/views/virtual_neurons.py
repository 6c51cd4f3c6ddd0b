"""The virtual neurons of a clustering as a table: the neurons, the most clearly split first."""

from collections.abc import Mapping, Sequence
from typing import Any

from pure_cli.words import counted, listed

ROWS = 20  # JSON and cluster.h5 have all
NAMED = 3  # neurons in the verdict
MORE = 3  # lower channels of a virtual neuron


def as_table(clustering: Mapping[str, Any], rows: int = ROWS) -> dict[str, Any]:
    """A table of `pure_cli.views.tables`.

    Parameters
    ----------
    clustering : of `pure_cli.stages.cluster.tables`
    rows : neurons at most
    """
    neurons = clustering["neurons"]
    shown = neurons[:rows]
    chosen = any("p" in row for row in neurons)
    tied = ["tied"] if any(row["tied"] for row in neurons) else []
    virtual = [one for row in neurons for one in row["virtual_neurons"]]
    more = ["more"] if any(one.get("channels") for one in virtual) else []
    named = ["classes"] if any(class_words(one) for row in neurons for one in row["virtual_neurons"]) else []
    named += ["labels"] if any(one.get("label") for one in [*neurons, *virtual]) else []
    how = ["polysemanticity", "p", "one by"] if chosen else []
    table_rows = [
        {
            "neuron": f"{row['neuron']} {row['name']}" if row["name"] else row["neuron"],
            "sizes": " + ".join(str(one["size"]) for one in row["virtual_neurons"]) or "never fires",
            "silhouette": row["silhouette"],
            "distance": row["distance"],
            "polysemanticity": row.get("polysemanticity"),
            "p": row.get("p"),
            "one by": row.get("refused_by") or "",
            "tied": row["tied"] or None,
            "classes": " | ".join(map(class_words, row["virtual_neurons"])),
            "labels": " | ".join(one.get("label") or "–" for one in row["virtual_neurons"]),
            "more": _in_row(row["virtual_neurons"]),
        }
        for row in shown
    ]
    return {
        "name": "virtual-neurons",
        "title": f"{clustering['layer']}, {clustering['features']} features, k = {clustering['k']}",
        "columns": ["neuron", "sizes", "silhouette", "distance", *how, *tied, *named, *more],
        "shown": ["neuron", "sizes", *(how or ["silhouette"]), *tied, *named],
        "rows": table_rows,
        "note": " ".join(
            [*_notes(neurons, chosen, bool(tied), len(neurons) - len(shown)), *_note_of_channels(virtual)]
        ),
        "verdict": _verdict(clustering, chosen),
    }


def _verdict(clustering: Mapping[str, Any], chosen: bool) -> str:
    neurons = clustering["neurons"]
    silent = [row for row in neurons if not row["virtual_neurons"]]
    split = [row for row in neurons if len(row["virtual_neurons"]) > 1]
    told = f"{len(split):,} of {counted(len(neurons), 'neuron')} of '{clustering['layer']}'"
    told += " have several meanings" if chosen else " are split"
    clearest = sorted((row for row in split if row["silhouette"] is not None), key=lambda row: -row["silhouette"])
    names = [f"{row['neuron']} ({row['silhouette']:.2f})" for row in clearest[:NAMED]]
    told += f", the most clearly by silhouette: {listed(names)}." if names else "."
    return f"{told} {len(silent):,} never fire." if silent else told


def _notes(neurons: list[dict[str, Any]], chosen: bool, tied: bool, left: int) -> list[str]:
    notes = []
    if left > 0:
        notes.append(f"… and {left:,} more: --json shows all, cluster.h5 holds them.")
    if any(lift for row in neurons for one in row["virtual_neurons"] for lift in one["lift"]):
        notes.append("×: how many times more frequent than in the whole data set.")
    if tied:
        notes.append("Tied: references whose score another has too; their order says nothing.")
    if chosen:
        threshold = next(row["threshold"] for row in neurons)
        limit = f"not above {threshold:.3f}, the calibrated threshold" if threshold else "0"
        notes.append(
            "One by: why a neuron stays one; p, its clearest split is no clearer than chance makes them (p > 0.05); "
            f"threshold, its polysemanticity is {limit}; gap, the gap statistic finds one (see docs/concepts.md)."
        )
    return notes


def _note_of_channels(virtual: list[Mapping[str, Any]]) -> list[str]:
    """What the column of lower channels means, or why there is none."""
    if any(one.get("channels") for one in virtual):
        return ["More: lower channels that the virtual neuron has more relevance of than its siblings, with their part "
                "of all that differs."]  # fmt: skip
    if any("channels" in one and one["channels"] is None for one in virtual):
        return ["Lower channels are left out: attribute.h5 has no relevances of these references."]
    return []


def class_words(virtual: Mapping[str, Any]) -> str:
    """The classes that occur more than once, of what `pure_cli.stages.cluster.classes_of` gives."""
    classes = zip(virtual["classes"], virtual["lift"], strict=True)
    return ", ".join(f"{name} ({count}{_times(lift)})" for (name, count), lift in classes if count > 1)


def channel_words(channels: Sequence[Mapping[str, Any]]) -> str:
    """``layer2 14, 3, 27 (34 %)``: the first lower channels, and their part of what differs."""
    by_layer: dict[str, list[str]] = {}
    for one in channels[:MORE]:
        by_layer.setdefault(one["layer"], []).append(str(one["channel"]))
    names = "; ".join(f"{layer} {', '.join(numbers)}" for layer, numbers in by_layer.items())
    return f"{names} ({100 * sum(one['share'] for one in channels[:MORE]):.0f} %)" if names else ""


def _in_row(virtual: list[Mapping[str, Any]]) -> str:
    parts = [channel_words(one.get("channels") or ()) for one in virtual]
    return " | ".join(part or "–" for part in parts) if any(parts) else ""


def _times(lift: float | None) -> str:
    return "" if lift is None else f", {lift:.{0 if lift >= 10 else 1}f}×"
