"""The colours of a small image, no judge."""

from pure_cli.embedders.kind import EmbedderKind, Network
from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError

PIXELS_SIZE = 16


def load(spec: EmbedderSpec, fallback_size: int) -> Network:
    """The colours as they are: red, green and blue planes one after the other."""
    from torch import nn

    from pure_cli.embedders.images import Squashed

    return Network(nn.Identity(), lambda _, images: images.flatten(1), Squashed(PIXELS_SIZE), PIXELS_SIZE)


def checked(spec: EmbedderSpec) -> EmbedderSpec:
    if spec.size is not None:
        raise PureError(f"The embedder pixels always sees {PIXELS_SIZE}×{PIXELS_SIZE}; leave --embedder-size out.")
    return spec


EMBEDDER = EmbedderKind(
    load,
    ("pixels",),
    alone="",
    takes=frozenset(),
    checked=checked,
    no_judge="sees colour and layout and no meaning: it keeps the commands usable, and is no judge",
)
