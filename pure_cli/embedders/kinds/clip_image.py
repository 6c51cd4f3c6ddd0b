"""CLIP's image vector, which text can be compared with, also as clip-image:ARCH/TAG or :FILE.json."""

from pure_cli.embedders.clip_names import CLIP, NO_JUDGES, checked
from pure_cli.embedders.kind import EmbedderKind, Network, TextNetwork
from pure_cli.embedders.spec import EmbedderSpec


def load(spec: EmbedderSpec, fallback_size: int) -> Network:
    from pure_cli.embedders import openclip

    model, transform, size = openclip.load_clip(spec)
    return Network(model, openclip.image_vectors, transform, size)


def load_texts(spec: EmbedderSpec) -> TextNetwork:
    from pure_cli.embedders import openclip_texts

    return openclip_texts.load_texts(spec)


EMBEDDER = EmbedderKind(
    load,
    ("clip-image", "clip-image:FILE.json"),
    alone=CLIP,
    named=True,
    checked=checked,
    no_judges=NO_JUDGES,
    load_texts=load_texts,
)
