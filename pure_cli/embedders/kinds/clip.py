"""CLIP's tokens, the paper's judge, also as clip:ARCH/TAG."""

from pure_cli.embedders.clip_names import CLIP, NO_JUDGES, checked
from pure_cli.embedders.kind import EmbedderKind, Network
from pure_cli.embedders.spec import EmbedderSpec


def load(spec: EmbedderSpec, fallback_size: int) -> Network:
    from pure_cli.embedders import openclip

    model, transform, size = openclip.load_clip(spec)
    return Network(openclip.token_tower(model, spec), openclip.mean_token, transform, size)


EMBEDDER = EmbedderKind(load, ("clip", "clip:ARCH/TAG"), alone=CLIP, named=True, checked=checked, no_judges=NO_JUDGES)
