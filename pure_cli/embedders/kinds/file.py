"""A network of one's own, as FILE.py:FUNCTION."""

from pure_cli.embedders.kind import LAYER, SIZE, WEIGHTS, EmbedderKind, Network
from pure_cli.embedders.spec import EmbedderSpec


def load(spec: EmbedderSpec, fallback_size: int) -> Network:
    from pure_cli.embedders.networks import load_network

    return load_network(spec, fallback_size)


EMBEDDER = EmbedderKind(load, ("FILE.py:FUNCTION",), takes=frozenset({LAYER, WEIGHTS, SIZE}))
