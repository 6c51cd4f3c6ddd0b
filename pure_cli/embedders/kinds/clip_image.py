"""CLIP's image vector, which text can be compared with, also as clip-image:ARCH/TAG."""

from pure_cli.embedders.clip_names import CLIP, checked
from pure_cli.embedders.kind import EmbedderKind, Network
from pure_cli.embedders.spec import EmbedderSpec


def load(spec: EmbedderSpec, fallback_size: int) -> Network:
    from pure_cli.embedders import openclip

    model, transform, size = openclip.load_clip(spec)
    return Network(model, openclip.image_vectors, transform, size)


EMBEDDER = EmbedderKind(load, ("clip-image",), alone=CLIP, named=True, checked=checked)
