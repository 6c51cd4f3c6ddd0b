"""Embeddings of references that words can be compared with."""

from __future__ import annotations

from contextlib import suppress

from pure_cli.artifacts import NeuronRows, need_layers
from pure_cli.embedders.spec import kind_of_name
from pure_cli.errors import PureError
from pure_cli.registry import EMBEDDERS
from pure_cli.stages.embeddings.judges import kind_of
from pure_cli.stages.inputs.features import FeatureSource, Sources


def knows_texts(rows: NeuronRows) -> bool:
    """The network that made embeddings has a text tower."""
    with suppress(PureError):  # of a package that is gone
        name = kind_of_name(rows.recipe["text"])
        return name is not None and EMBEDDERS[name].load_texts is not None
    return False


def layers_with_texts(sources: Sources, requested: list[str] | None, embedder: str | None) -> list[str]:
    """The layers that were asked for, all with such embeddings where none was.

    Raises
    ------
    PureError
        One has none.
    """
    there = {
        layer: None
        for (layer, kind), rows in sources.embedded.items()
        if knows_texts(rows) and (embedder is None or kind == kind_of(embedder, sources, layer))
    }
    return need_layers(requested, there, f"embed --embedder {embedder or 'clip-image'}", bands_too=False)


def with_texts(sources: Sources, layer: str, embedder: str | None) -> FeatureSource:
    """The embeddings of a layer that are named, or the first by a network with a text tower.

    Raises
    ------
    PureError
        There are none, they are stale, or their network knows no texts.
    """
    there = sources.embeddings(layer)
    if embedder is not None:
        kind = kind_of(embedder, sources, layer)
        if kind not in there:
            raise PureError(f"'{layer}' has no {kind} embeddings. Run `pure embed --embedder {embedder}` first.")
        if not knows_texts(there[kind]):
            raise PureError(f"{kind} embeddings cannot be compared with words. Take those of clip-image.")
        return sources.features_of(layer, kind)
    kind = next((kind for kind, rows in there.items() if knows_texts(rows)), "")
    if not kind:
        raise PureError(
            f"'{layer}' has no embeddings that words can be compared with. Run `pure embed --embedder clip-image "
            f"--layer {layer}` first."
        )
    return sources.features_of(layer, kind)
