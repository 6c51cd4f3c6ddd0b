"""CLIP networks from open_clip: their tokens, or the vector that text can be compared with."""

import logging
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pure_cli.core.circuits import activations
from pure_cli.core.layout import channels_first
from pure_cli.embedders import openclip_config
from pure_cli.embedders.checkpoints import does_not_fit, existing, no_download
from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError, first_line, unknown
from pure_cli.hub.patience import impatient
from pure_cli.models.spec import NO_WEIGHTS
from pure_cli.quick_imports import compiler_later

with compiler_later():
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

BLOCKS = "transformer"  # the module of open_clip's vision towers that holds the blocks


def load_clip(spec: EmbedderSpec) -> tuple[nn.Module, Callable[..., torch.Tensor], int]:
    """A CLIP network as open_clip builds and fills it.

    Returns
    -------
    model : in float32 and eval mode, on the CPU
    transform : open_clip's own, of a PIL image to (3, H, W)
    size : side of its input in pixels

    Raises
    ------
    PureError
        Unknown architecture or tag, weights that do not fit.
    PureFailure
        Weights would have to be downloaded and cannot be.
    """
    description = _description(spec)
    path = _checkpoint(spec, description)
    try:
        with silent_log(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = open_clip.create_model(
                openclip_config.name_of(spec),
                pretrained=str(path) if path else None,
                precision="fp32",
                # The tags know that they were trained with QuickGELU, the architectures do not.
                force_quick_gelu=bool(description.get("quick_gelu")) or spec.tag == "openai",
                force_image_size=spec.size,
                force_preprocess_cfg={key: value for key, value in description.items() if key != "size"},
                pretrained_hf=False,
            )
    except Exception as error:
        if path is None:
            raise PureError(f"open_clip cannot build {spec.architecture}: {first_line(error)}.") from error
        raise does_not_fit(path, error) from error
    preprocessing = PreprocessCfg(**model.visual.preprocess_cfg)
    size = preprocessing.size
    return (
        model.eval().requires_grad_(False),
        image_transform_v2(preprocessing, is_train=False),
        size if isinstance(size, int) else min(size),
    )


def image_vectors(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The projected image vector, (B, E), of its own length: divide by it for cosine similarities with text."""
    return model.encode_image(images, normalize=False)  # type: ignore[operator]


def mean_token(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Mean over all tokens, the class token too, of the last block's output, before the final norm and projection.

    Parameters
    ----------
    model : `token_tower` of a CLIP network
    images : (B, 3, H, W) float

    Returns
    -------
    (B, E) float

    Notes
    -----
    What PURE takes of CLIP (``last_hidden_state`` of transformers' ``CLIPVisionModel``, averaged).
    """
    return channels_first(activations(model, images, [BLOCKS])[BLOCKS]).mean(dim=-1)


def token_tower(model: nn.Module, spec: EmbedderSpec) -> nn.Module:
    """The part of a CLIP network that `mean_token` reads.

    Raises
    ------
    PureError
        It has no transformer of open_clip's kind (ResNets, towers from timm).
    """
    tower = model.visual
    if not isinstance(tower, nn.Module) or not hasattr(tower, BLOCKS):
        raise PureError(
            f"The image tower of {spec.architecture} ({type(tower).__name__}) has no tokens that pure can read. "
            f"Use its projected image vector: clip-image:{spec.name}."
        )
    return tower


def _description(spec: EmbedderSpec) -> dict[str, Any]:
    """What open_clip knows of a tag: from where to get it, QuickGELU or not, preprocessing; empty without a tag."""
    if spec.config:
        return openclip_config.preprocessing(spec.config)
    architectures = open_clip.list_models()
    if spec.architecture not in architectures:
        raise unknown("open_clip architecture", spec.architecture, architectures)
    tags = open_clip.list_pretrained_tags_by_model(spec.architecture)
    tag = spec.tag
    if not tag and spec.weights is None:
        if len(tags) != 1 and "openai" not in tags:
            raise PureError(
                f"Which weights of {spec.architecture}? Give {spec.kind}:{spec.architecture}/TAG with one of: "
                f"{', '.join(tags) or 'none, so pass a file with --embedder-weights FILE'}."
            )
        tag = "openai" if "openai" in tags else tags[0]
    description = open_clip.get_pretrained_cfg(spec.architecture, tag) if tag else {}
    if tag and not description:
        raise unknown(f"pretrained tag of {spec.architecture}", tag, tags)
    return description


def _checkpoint(spec: EmbedderSpec, description: dict[str, Any]) -> Path | None:
    """The file with the weights, downloaded where it has to be; None for none."""
    if spec.weights is not None:
        path = None if str(spec.weights) == NO_WEIGHTS else existing(spec.weights)
    elif spec.config:
        raise PureError(
            f"There are no weights beside {spec.config} ({spec.config.with_suffix('.safetensors').name}). "
            "Pass a checkpoint with --embedder-weights FILE."
        )
    else:
        url = _url(description)
        try:
            with silent_log(), impatient(url):
                path = Path(open_clip.download_pretrained(description))
        except Exception as error:  # the hub raises errors of many packages when it cannot be reached
            raise no_download(spec, url, error) from None
    if path is not None and _is_torchscript(path):
        raise PureError(
            f"{path} is a TorchScript archive, which holds code beside the weights. "
            f"Get the weights alone{': ' + _url(description) if description else ''}, or save its state_dict()."
        )
    return path


def _url(description: dict[str, Any]) -> str:
    if repository := description.get("hf_hub"):
        folder, _, file = repository.rpartition("/")
        return f"https://huggingface.co/{folder}/resolve/main/{file or 'open_clip_model.safetensors'}"
    return str(description.get("url"))


def _is_torchscript(path: Path) -> bool:
    if path.suffix == ".safetensors" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


@contextmanager
def silent_log() -> Iterator[None]:
    """Without open_clip's messages, which go to the root logger and would give it a handler where it has none."""
    root, silent = logging.getLogger(), logging.NullHandler()
    before = logging.root.manager.disable
    root.addHandler(silent)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(silent)
