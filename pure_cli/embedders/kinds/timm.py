"""A network of timm without its classifier, as timm:NAME."""

from functools import partial

from pure_cli.embedders.kind import LAYER, SIZE, WEIGHTS, EmbedderKind, Network
from pure_cli.embedders.spec import EmbedderSpec


def load(spec: EmbedderSpec, fallback_size: int) -> Network:
    from pure_cli.embedders import timm_networks
    from pure_cli.embedders.networks import pooled

    model, transform, size = timm_networks.load_timm(spec)
    return Network(model, partial(pooled, layer=spec.layer), transform, size)


EMBEDDER = EmbedderKind(load, ("timm:NAME",), named=True, takes=frozenset({LAYER, WEIGHTS, SIZE}))
