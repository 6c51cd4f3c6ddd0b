"""DINOv2's tokens, the paper's second judge, also as dinov2:NAME."""

from dataclasses import replace

from pure_cli.embedders.kind import EmbedderKind, Network
from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError

DINOV2 = "vit_base_patch14_dinov2"  # timm's tag lvd142m
DINOV2_SIZE = 224  # pixels, as in the paper


def load(spec: EmbedderSpec, fallback_size: int) -> Network:
    from pure_cli.embedders import timm_networks

    model, transform, size = timm_networks.load_dinov2(spec)
    return Network(model, timm_networks.mean_feature, transform, size)


def checked(spec: EmbedderSpec) -> EmbedderSpec:
    if spec.layer:
        raise PureError(
            f"The embedder {spec} takes no layer; leave --embedder-layer out. For one of its layers, use "
            f"timm:{spec.name}."
        )
    return replace(spec, size=None) if spec.size == DINOV2_SIZE else spec


EMBEDDER = EmbedderKind(load, ("dinov2",), alone=DINOV2, named=True, checked=checked, library="timm")
