"""Audits as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pure_cli.views.tables import DASH
from pure_cli.words import counted, listed

NOTE = (
    "effect: how far the output of the class falls against the mean of all outputs without the virtual neuron, on "
    "average over images of the class that had no part in the choice, with its standard error. own: part of its "
    "references that are of the class. inside: part of its activation over the data that is on images of the class. "
    "share: of its neuron's activation on the class. right: accuracy on the class without it; others: on all other "
    "images."
)
NAMED = 3  # drivers in a sentence


def tables_of(card: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Tables of `pure_cli.views.tables`: what drives a class, and odd references where there are some.

    Parameters
    ----------
    card : of `pure_cli.stages.auditing.cards.audits`
    """
    labelled = any(one["label"] for one in card["drivers"])
    columns = ["virtual neuron", "label", "effect", "own", "inside", "share", "right", "others", "references"]
    shown = ["virtual neuron", *(["label"] if labelled else []), "effect", "own", "right", "others", "references"]
    yield {
        "name": f"audit-{card['number']:03d}",
        "title": f"What drives the class {card['class']}",
        "columns": columns,
        "shown": shown,
        "rows": [_row(one) for one in card["drivers"]],
        "note": NOTE,
        "verdict": _verdict(card),
    }
    if len(card["together"]) > 1:
        yield {
            "name": f"audit-{card['number']:03d}-together",
            "title": f"The class {card['class']} without the first drivers together",
            "columns": ["drivers", "right", "others", "right, random", "others, random"],
            "rows": [
                {
                    "drivers": str(one["count"]),
                    **dict(zip(("right", "others"), (one["own"], one["others"]), strict=True)),
                    **dict(zip(("right, random", "others, random"), one["random"], strict=True)),
                }
                for one in card["together"]
            ],
            "note": "right: accuracy on the class; others: on all other images. random: without as many at random.",
            "verdict": _of_all(card["together"][-1], card["accuracy"]),
        }
    if card["outliers"]:
        names = {"address": "virtual neuron", "path": "reference", "class": "class", "why": "why"}
        yield {
            "name": f"audit-{card['number']:03d}-outliers",
            "title": f"Odd references of what drives the class {card['class']}",
            "columns": list(names.values()),
            "rows": [{name: one[key] for key, name in names.items()} for one in card["outliers"]],
            "note": "",
            "verdict": f"References of these virtual neurons that stand out: {len(card['outliers']):,}.",
        }


def _row(driver: dict[str, Any]) -> dict[str, Any]:
    return {
        "virtual neuron": driver["address"],
        "label": driver["label"],
        "effect": [driver["effect"], driver["error"]],
        **{name: driver[name] for name in ("own", "inside", "share")},
        "right": driver["silenced"]["own"][1],
        "others": driver["silenced"]["others"][1],
        "references": ", ".join(f"{name} ({count})" for name, count, _ in driver["classes"]),
    }


def _verdict(card: dict[str, Any]) -> str:
    if not card["drivers"]:
        return f"None of these virtual neurons drives the class {card['class']}. {card['control']['text']}"
    first, control = card["drivers"][0], card["control"]
    own, others = (_change(first["silenced"][name]) for name in ("own", "others"))
    told = (
        f"{first['address']} drives the class {card['class']} most: without it, its output falls by "
        f"{first['effect']:.2g} (by {control['random']:.2g} without a virtual neuron drawn at random), accuracy on the "
        f"class goes {own}, and on the others {others}."
    )
    if card["elsewhere"]:
        named = listed([one["address"] for one in card["elsewhere"][:NAMED]])
        more = len(card["elsewhere"]) - NAMED
        told += (
            f" {counted(len(card['elsewhere']), 'driver')} respond{'s' if len(card['elsewhere']) == 1 else ''} most to "
            f"other classes ({named}{f' and {more} more' if more > 0 else ''}): candidates for spurious features."
        )
    return told


def _of_all(last: dict[str, Any], before: float) -> str:
    return (
        f"Without the first {last['count']} together, accuracy on the class goes {_change([before, last['own']])}; "
        f"to {last['random'][0]:.1%} without as many drawn at random."
    )


def _change(values: list[float | None]) -> str:
    before, after = (DASH if value is None else f"{value:.1%}" for value in values)
    return f"from {before} to {after}"
