"""The text towers of open_clip's networks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pure_cli.embedders.kind import TextNetwork
from pure_cli.embedders.openclip import load_clip, silent_log
from pure_cli.embedders.openclip_config import name_of
from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError, PureFailure, first_line
from pure_cli.hub.patience import impatient
from pure_cli.quick_imports import compiler_later

with compiler_later():
    import open_clip


def load_texts(spec: EmbedderSpec) -> TextNetwork:
    """The text tower of the network that `load_clip` builds.

    Raises
    ------
    PureError
        As `load_clip`, or it has no text tower of open_clip's kind.
    PureFailure
        Weights or the vocabulary would have to be downloaded and cannot be.
    """
    model, _, _ = load_clip(spec)
    if not callable(getattr(model, "encode_text", None)):
        raise PureError(f"{spec} has no text tower. Choose another network: clip-image:ARCH/TAG.")
    context = (
        open_clip.get_model_tokenize_cfg(model).get("context_length") or open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH
    )
    tokenize = _tokenizer(spec)
    model.visual = nn.Identity()  # not needed here
    scale = model.logit_scale
    assert isinstance(scale, torch.Tensor)
    return TextNetwork(model, text_vectors, tokenize, context, is_causal(model), float(scale.exp()))


def text_vectors(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """open_clip's `encode_text`, (B, E), without computing what lies behind the end of the longest text.

    Parameters
    ----------
    tokens : (B, L) int64, at least the whole texts; L may be less than the model's context where attention is causal

    Notes
    -----
    In a causal text tower that is read at the end of the text, no position behind that end has a part in the vector:
    ViT-B-32 computes 77 positions, and "a photo of a dog." has 8.
    """
    with _shortened(model, tokens.shape[1]):
        return model.encode_text(tokens, normalize=False)  # type: ignore[operator]


def is_causal(model: nn.Module) -> bool:
    """Whether a text's vector depends on nothing behind its end."""
    return (
        isinstance(model, open_clip.CLIP) and model.attn_mask is not None and model.text_pool_type in ("argmax", "eos")
    )


@contextmanager
def _shortened(model: nn.Module, length: int) -> Iterator[None]:
    """The text tower with a context of some tokens; only where it is causal."""
    if not is_causal(model):
        yield
        return
    positions, mask = model.positional_embedding, model.attn_mask
    assert isinstance(positions, nn.Parameter) and isinstance(mask, torch.Tensor)
    try:
        model.positional_embedding = nn.Parameter(positions[:length], requires_grad=False)
        model.attn_mask = mask[:length, :length]
        yield
    finally:
        model.positional_embedding, model.attn_mask = positions, mask


def _tokenizer(spec: EmbedderSpec) -> Callable[[list[str], int], torch.Tensor]:
    try:
        with silent_log(), impatient(None):
            return open_clip.get_tokenizer(name_of(spec))
    except Exception as error:  # the hub and transformers raise errors of many packages
        raise PureFailure(
            f"The vocabulary of {spec} is not on this machine and cannot be downloaded "
            f"({type(error).__name__}: {first_line(error)}). Load it once on a machine with a network."
        ) from error
