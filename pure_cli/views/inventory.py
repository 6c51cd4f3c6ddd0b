"""What a workspace holds, as lines and a table."""

from collections.abc import Iterator, Mapping
from typing import Any

from pure_cli.words import counted

COLUMNS = {"stage": "stage", "layer": "layer", "what": "holds", "status": "status"}
STALE = "red"
NAMED = 8  # parts that are missing


def heading(found: Mapping[str, Any]) -> Iterator[str]:
    """What a workspace is about.

    Parameters
    ----------
    found : of `pure_cli.stages.info.info`
    """
    origin = found["origin"]
    if origin:
        limit = f" (limit {origin['limit']:,})" if origin["limit"] else ""
        yield f"model    {origin['model']}"
        yield f"weights  {origin['weights'] or 'of the model itself'}"
        yield f"images   {origin['data']}: {origin['images']:,}{limit}"
    for layer, meant in found["addresses"].items():
        yield f"address  {layer}/NEURON.NUMBER: {meant['features']} features, k = {meant['k']} ({meant['how']})"


def verdict(results: list[dict[str, Any]]) -> str:
    """How many results are stale; "" where there are none."""
    stale = sum(result["stale"] is not None for result in results)
    if not results:
        return ""
    if not stale:
        return ": all is up to date"
    return f": {stale} of {counted(len(results), 'result')} {'is' if stale == 1 else 'are'} stale"


def as_table(results: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """A table of the results for `pure_cli.views.tables`, and the colour of each row."""
    rows = [{shown: result[key] for key, shown in COLUMNS.items()} for result in results]
    table = {"title": "", "columns": list(COLUMNS.values()), "rows": rows, "note": ""}
    return table, ["" if result["stale"] is None else STALE for result in results]


def of_parts(parts: list[dict[str, Any]]) -> Iterator[str]:
    """What parts of work there are that are not put together, a line for each work.

    Parameters
    ----------
    parts : of `pure_cli.stages.info.info`
    """
    for own in parts:
        rest = own["missing"]
        of = own["done"] + len(rest)
        whole = "`pure merge` next" if own["images"] == own["of"] else f"`pure {own['stage']}` does the rest"
        then = f"missing: {', '.join(rest[:NAMED])}{', …' if len(rest) > NAMED else ''}" if rest else whole
        images = f"{own['images']:,} of {own['of']:,} images"
        yield f"parts of `pure {own['stage']}`: {own['done']} of {of}, {images}; {then}"
