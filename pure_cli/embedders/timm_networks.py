"""Networks from timm without their classifier, among them DINOv2."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pure_cli.embedders.checkpoints import does_not_fit, existing, no_download
from pure_cli.embedders.images import Torchvision
from pure_cli.embedders.kinds.dinov2 import DINOV2_SIZE
from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError, first_line
from pure_cli.hub.patience import impatient
from pure_cli.models.load import own_preprocessing
from pure_cli.models.spec import NO_WEIGHTS
from pure_cli.models.weights import read_weights
from pure_cli.quick_imports import compiler_later

with compiler_later():
    import timm
    from timm.data import create_transform, resolve_data_config
    from timm.models import PretrainedCfg

DINOV2_RESIZE = 256  # pixels of the short side, at 224; in proportion at other sizes


def load_timm(spec: EmbedderSpec) -> tuple[nn.Module, Callable[..., torch.Tensor], int]:
    """A network that gives pooled features, before the classifier.

    Returns
    -------
    model : in eval mode, on the CPU
    transform : timm's own for these weights, of a PIL image to (3, H, W)
    size : side of its input in pixels

    Raises
    ------
    PureError
        Unknown name, a size that it does not take, weights that do not fit.
    PureFailure
        Weights would have to be downloaded and cannot be.
    """
    config = _config(spec)
    if spec.layer is not None and spec.layer in _classifiers(config):
        raise PureError(
            f"'{spec.layer}' is the classifier of {spec}, which an embedder goes without. "
            "Leave --embedder-layer out for what goes into it."
        )
    model = _build(spec, spec.size if config.fixed_input_size else None)
    asked = {"input_size": (3, spec.size, spec.size)} if spec.size else {}
    data = resolve_data_config(asked, pretrained_cfg=config.to_dict(), use_test_size=True)
    return model, create_transform(**data), min(data["input_size"][1:])


def load_dinov2(spec: EmbedderSpec) -> tuple[nn.Module, Callable[..., torch.Tensor], int]:
    """A vision transformer with its position embeddings resampled by timm to the size that is asked for.

    Returns and raises as `load_timm`.
    """
    size = spec.size or DINOV2_SIZE
    if not _config(spec).fixed_input_size:
        raise PureError(f"{spec.name} is no vision transformer. Use timm:{spec.name}.")
    model = _build(spec, size)
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if patch is None:
        raise PureError(f"{spec.name} is no vision transformer. Use timm:{spec.name}.")
    if size % patch[0] or size % patch[1]:
        lower = size // patch[0] * patch[0]
        near = " or ".join(str(n) for n in (lower, lower + patch[0]) if n)
        raise PureError(f"{spec} takes images of a multiple of {patch[0]} pixels, and not {size}. Use {near}.")
    resize = round(size * DINOV2_RESIZE / DINOV2_SIZE)
    preprocessing = replace(own_preprocessing(spec.model), resize=resize, crop_size=size, interpolation="bicubic")
    return model, Torchvision(preprocessing), size


def mean_feature(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Mean over all tokens, the class token too, after the final norm.

    Parameters
    ----------
    images : (B, 3, H, W) float

    Returns
    -------
    (B, E) float
    """
    tokens = model.forward_features(images)  # type: ignore[operator]
    if not isinstance(tokens, torch.Tensor) or tokens.ndim != 3:
        raise PureError(f"{type(model).__name__} gives no tokens, as DINOv2 does. Use it as timm:NAME.")
    return tokens.mean(dim=1)


def _build(spec: EmbedderSpec, img_size: int | None) -> nn.Module:
    """The network filled by timm's own loader, which resamples position embeddings and converts older formats."""
    config = _config(spec)
    options: dict[str, Any] = {"num_classes": 0, "img_size": img_size}
    url, path = _url(config), None
    if spec.weights is None:
        if not config.has_weights:
            raise PureError(f"timm has no trained weights of {spec.name}. Pass a file with --embedder-weights FILE.")
    elif str(spec.weights) != NO_WEIGHTS:
        path = existing(spec.weights)
        unwanted = tuple(f"{name}." for name in _classifiers(config))
        state = {key: value for key, value in read_weights(path).items() if not key.startswith(unwanted)}
        # Without a classifier on either side, timm insists on all keys.
        options["pretrained_cfg_overlay"] = {"state_dict": state, "num_classes": 0, "label_offset": 0}
    try:
        with _seeded(), impatient(url) if spec.weights is None else nullcontext():
            model = timm.create_model(spec.name, pretrained=str(spec.weights) != NO_WEIGHTS, **options)
    except Exception as error:  # the hub raises errors of many packages when it cannot be reached
        try:
            with _seeded():
                timm.create_model(spec.name, pretrained=False, **options)
        except Exception as refused:
            size = f" for images of {img_size} pixels" if img_size else ""
            raise PureError(f"timm cannot build {spec.name}{size} ({first_line(refused)}).") from refused
        raise (does_not_fit(path, error) if path else no_download(spec, url, error)) from None
    attached = getattr(model, "pretrained_cfg", None)
    if isinstance(attached, dict):
        attached.pop("state_dict", None)  # the tensors, a second time
    return model.eval().requires_grad_(False)


def _config(spec: EmbedderSpec) -> PretrainedCfg:
    """How timm describes the network and its weights."""
    own_preprocessing(spec.model)  # raises where timm does not know the name
    config = timm.get_pretrained_cfg(spec.name)
    assert config is not None
    return config


@contextmanager
def _seeded() -> Iterator[None]:
    """With the same random numbers each time, and those of the caller untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _classifiers(config: PretrainedCfg) -> tuple[str, ...]:
    """Names of the modules after the pooled features."""
    names = config.classifier or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _url(config: PretrainedCfg) -> str:
    if config.hf_hub_id:
        return f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{config.hf_hub_filename or 'model.safetensors'}"
    return str(config.url)
