"""Embeddings of references that words can be compared with."""

from __future__ import annotations

from contextlib import suppress

from pure_cli.artifacts import Clustering, NeuronRows, need_layers, read_clusterings
from pure_cli.embedders.spec import kind_of_name
from pure_cli.errors import PureError
from pure_cli.registry import EMBEDDERS
from pure_cli.settings.shared import NEURONS, VIRTUAL
from pure_cli.stages.embeddings.judges import kind_of
from pure_cli.stages.inputs.choice import chosen_features, there_are
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
    there: dict[str, None] = {}
    deaf = ""
    wanted = embedder
    if embedder is not None and embedder not in {kind for _, kind in sources.embedded}:
        wanted = kind_of(embedder, sources, "")
    for (layer, kind), rows in sources.embedded.items():
        if wanted in (None, kind):
            there |= {layer: None} if knows_texts(rows) else {}
            deaf = "" if knows_texts(rows) else kind
    if not there:
        why = f"{deaf} embeddings cannot be compared with words" if deaf else "There are no embeddings that know words"
        able = [name for name in EMBEDDERS.working() if EMBEDDERS[name].load_texts]
        named = embedder if embedder and not deaf else able[0]
        raise PureError(f"{why}. Run `pure embed --embedder {named}` first.")
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


def virtual_of_layer(
    sources: Sources, layer: str, units: str | None
) -> tuple[FeatureSource | None, Clustering | None, list[str]]:
    """The virtual neurons that are meant, with their features, and the kinds of units: no virtual neurons where there
    are none, or none are wanted.

    Parameters
    ----------
    units : as of ``--units``

    Raises
    ------
    PureError
        There are none, and they are asked for; or they are stale.
    """
    clusterings = read_clusterings(sources.store)
    there = layer in there_are(clusterings.values())
    if units == NEURONS or (units is None and not there):
        return None, None, [NEURONS]
    if not there:
        raise PureError(
            f"'{layer}' has no virtual neurons. Run `pure cluster --layer {layer}` first, or take --units neurons."
        )
    return *chosen_features(sources, layer, clusterings), [VIRTUAL] if units == VIRTUAL else [NEURONS, VIRTUAL]
