"""What matches and what does not, in tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.artifacts import Comparison, Similarities
from pure_cli.core.matching import LEVEL, Matches
from pure_cli.settings.shared import NEURONS
from pure_cli.stages.comparison.sides import NAMES
from pure_cli.stages.inputs.units import address
from pure_cli.words import counted

SUMMARY, APART, MATCHES = "compare", "apart", "matches"
WORDS = {"neurons": "neuron", "virtual": "virtual neuron"}
LIMIT = f"the {1 - LEVEL:.0%} quantile of the highest of as many similarities where B's images are shuffled"
CONTRAST = (
    "contrast: how much more alike the two clearest virtual neurons of a neuron are to their own matches than each to "
    f"the other's; by chance: the {1 - LEVEL:.0%} quantile of that where what belongs to the virtual neurons is dealt "
    "out among them at random. Listed is what is above that and matches more than by chance (limit)."
)


def tables_of(comparison: Comparison) -> list[dict[str, Any]]:
    """Tables of `pure_cli.views.tables`: means and counts, neurons that fall apart, and all matches."""
    return [_summary(comparison), _apart(comparison), _matches(comparison)]


def _layers(comparison: Comparison) -> tuple[str, str]:
    a, b = (comparison.about[name]["layer"] for name in NAMES)
    return a, b


def title_of(comparison: Comparison) -> str:
    """Which layers are compared."""
    parts = [(name, comparison.about[name]) for name in NAMES]
    return ", ".join(f"{name}: {own['layer']} of {own['model']} ({Path(own['workspace']).name})" for name, own in parts)


# --------------------------------------------------------------------------------------------------- means and counts


def _summary(comparison: Comparison) -> dict[str, Any]:
    rows = [
        _summary_row(own, kinds, side)
        for own in comparison.similarities.values()
        for kinds in own.blocks
        for side in (0, 1)
    ]
    ways = "; ".join(f"{own.by}: {own.way}" for own in comparison.similarities.values())
    shuffles = next(len(block.shuffled_a) for own in comparison.similarities.values() for block in own.blocks.values())
    return {
        "name": SUMMARY,
        "title": title_of(comparison),
        "columns": [
            "by", "of", "in", "units", "best", "chance", "matched", "within classes", "beyond classes", "mutual",
            "one to one", "chance of that",
        ],
        "shown": ["by", "of", "in", "units", "best", "chance", "matched", "beyond classes"],
        "rows": rows,
        "note": (
            f"{ways}. best: similarity with the most similar unit, on average; chance: the highest of as many where "
            f"B's images are shuffled, {shuffles} times. matched: more similar than {LIMIT}, so that {LEVEL:.0%} of "
            "units would be by chance; beyond classes: the same where images are shuffled within their classes. "
            "mutual: each the other's most similar one, and matched. one to one: mean of the pairs that are most "
            "similar in sum, and of those by chance."
        ),
        "verdict": _verdict(comparison),
    }  # fmt: skip


def _summary_row(own: Similarities, kinds: tuple[str, str], side: int) -> dict[str, Any]:
    block, matches, other = own.blocks[kinds], own.matches(kinds, side), own.matches(kinds, 1 - side)
    mutual = other.best[matches.best] == np.arange(len(matches.best))
    row: dict[str, Any] = {
        "by": own.by,
        "of": f"{NAMES[side]} {kinds[side]}",
        "in": f"{NAMES[1 - side]} {kinds[1 - side]}",
        "units": len(matches.best),
        "best": float(matches.similarity.mean()),
        "chance": float(matches.chance.mean()),
        "matched": int(matches.found.sum()),
        "mutual": int((mutual & matches.found).sum()),
    }
    if own.has_classes:
        classes = own.matches(kinds, side, within_classes=True)
        row["within classes"] = float(classes.chance.mean())
        row["beyond classes"] = int((matches.found & classes.found).sum())
    if kinds[0] == kinds[1]:
        row["one to one"] = float(own.part(kinds)[block.pair_a, block.pair_b].mean())
        row["chance of that"] = float(block.paired.mean())
    return row


def _verdict(comparison: Comparison) -> str:
    """Of the first kind of units, both ways."""
    return ". ".join(map(_told, comparison.similarities.values())) + "."


def _told(own: Similarities) -> str:
    kinds = next(iter(own.blocks))
    a, b = (own.matches(kinds, side) for side in (0, 1))
    parts = [
        f"{int(one.found.sum()):,} of {counted(len(one.best), WORDS[kinds[side]])} of {NAMES[side]}"
        for side, one in enumerate((a, b))
    ]
    return (
        f"By {own.by}, {parts[0]} have a match in B (similarity {a.similarity.mean():.3g} on average, "
        f"{a.chance.mean():.3g} by chance), and {parts[1]} in A"
    )


# ---------------------------------------------------------------------------------------- neurons that fall apart


def _apart(comparison: Comparison) -> dict[str, Any]:
    rows, told = [], []
    for own in comparison.similarities.values():
        for side in (0, 1):
            found = list(_apart_of(own, side, _layers(comparison)))
            rows += [row for of_neuron in found for row in of_neuron]
            if (apart := own.apart[side]) is not None:
                told.append(
                    f"{len(found):,} of {len(apart.neuron):,} of {NAMES[side]} in {NAMES[1 - side]} by {own.by}"
                )
    verdict = f"Neurons whose virtual neurons match different neurons: {'; '.join(told)}." if told else ""
    return {
        "name": APART,
        "title": "Neurons whose virtual neurons match different neurons, the clearest first",
        "columns": ["by", "virtual neuron", "match", "similarity", "limit", "neuron's match", "contrast", "by chance"],
        "rows": rows,
        "note": CONTRAST if rows else "",
        "verdict": verdict,
    }


def _apart_of(own: Similarities, side: int, layers: tuple[str, str]) -> Iterator[list[dict[str, Any]]]:
    """For each neuron that falls apart, the clearest first, a row for each of its virtual neurons with a match."""
    apart = own.apart[side]
    if apart is None:
        return
    kinds = ("virtual", NEURONS) if side == 0 else (NEURONS, "virtual")
    block, matches = own.blocks[kinds], own.matches(kinds, side)
    units = ((own.unit_a, block.places_a), (own.unit_b, block.places_b))
    virtual, neurons = (all_[places] for all_, places in (units[side], units[1 - side]))
    whole = own.matches((NEURONS, NEURONS), side) if (NEURONS, NEURONS) in own.blocks else None
    limit = np.quantile(apart.dealt, 1 - LEVEL, axis=0, method="higher")
    for place in np.argsort(-apart.contrast, kind="stable").tolist():
        parts = np.flatnonzero((virtual[:, 0] == apart.neuron[place]) & matches.found)
        if apart.contrast[place] <= limit[place] or len(np.unique(matches.best[parts])) < 2:
            continue
        neuron = int(apart.neuron[place])
        yield [
            {
                "by": own.by,
                "virtual neuron": f"{NAMES[side]} {address(layers[side], *virtual[part])}",
                "match": address(layers[1 - side], *neurons[matches.best[part]]),
                "similarity": float(matches.similarity[part]),
                "limit": float(matches.limit[part]),
                "neuron's match": _match_of(own, whole, neuron, side, layers),
                "contrast": float(apart.contrast[place]),
                "by chance": float(limit[place]),
            }
            for part in parts.tolist()
        ]


def _match_of(own: Similarities, whole: Matches | None, neuron: int, side: int, layers: tuple[str, str]) -> str | None:
    """What the neuron itself matches; None where that is nothing, or is not looked for."""
    if whole is None:
        return None
    block, units = own.blocks[NEURONS, NEURONS], (own.unit_a, own.unit_b)
    places = (block.places_a, block.places_b)
    place = int(np.flatnonzero(units[side][places[side], 0] == neuron)[0])
    if not whole.found[place]:
        return None
    return address(layers[1 - side], *units[1 - side][places[1 - side]][whole.best[place]])


# -------------------------------------------------------------------------------------------------------- all matches


def _matches(comparison: Comparison) -> dict[str, Any]:
    rows = [
        row
        for own in comparison.similarities.values()
        for kinds in own.blocks
        for side in (0, 1)
        for row in _matches_of(own, kinds, side, _layers(comparison))
    ]
    return {
        "name": MATCHES,
        "title": "All units, the most similar first",
        "columns": [
            "by", "of", "unit", "in", "best", "similarity", "chance", "limit", "p", "matched", "limit within classes",
            "one to one", "similarity of that",
        ],
        "shown": ["by", "of", "unit", "in", "best", "similarity", "limit", "matched", "one to one"],
        "rows": rows,
        "note": f"limit: {LIMIT}; matched: similarity is above it; p: share of the shuffles that give as much.",
        "verdict": "",
    }  # fmt: skip


def _matches_of(
    own: Similarities, kinds: tuple[str, str], side: int, layers: tuple[str, str]
) -> Iterator[dict[str, Any]]:
    block, matches, part = own.blocks[kinds], own.matches(kinds, side), own.part(kinds)
    units = own.unit_a[block.places_a], own.unit_b[block.places_b]
    pairs = (block.pair_a, block.pair_b) if kinds[0] == kinds[1] else (np.zeros(0, int), np.zeros(0, int))
    partner = dict(zip(pairs[side].tolist(), pairs[1 - side].tolist(), strict=True))
    within = own.matches(kinds, side, within_classes=True).limit if own.has_classes else None
    chance, limit, p = matches.chance, matches.limit, matches.p
    similarities = part if side == 0 else part.T
    for place in np.argsort(-matches.similarity, kind="stable").tolist():
        other = partner.get(place)
        yield {
            "by": own.by,
            "of": NAMES[side],
            "unit": address(layers[side], *units[side][place]),
            "in": kinds[1 - side],
            "best": address(layers[1 - side], *units[1 - side][matches.best[place]]),
            "similarity": float(matches.similarity[place]),
            "chance": float(chance[place]),
            "limit": float(limit[place]),
            "p": float(p[place]),
            "matched": bool(matches.found[place]),
            "limit within classes": None if within is None else float(within[place]),
            "one to one": None if other is None else address(layers[1 - side], *units[1 - side][other]),
            "similarity of that": None if other is None else float(similarities[place, other]),
        }
