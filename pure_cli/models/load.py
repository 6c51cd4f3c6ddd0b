"""From a model's name to a module in eval mode, with its preprocessing."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pure_cli.core.preprocessing import Preprocessing
from pure_cli.errors import PureError, PureFailure, first_line, unknown
from pure_cli.hub.patience import impatient
from pure_cli.models.files import function_in, import_file, neighbours
from pure_cli.models.from_hub import build
from pure_cli.models.handed_over import given_model, given_preprocessing, of_preset
from pure_cli.models.plain import copied, make_plain, require_plain, unwrap_parts
from pure_cli.models.processor import processor_preprocessing
from pure_cli.models.repos import here
from pure_cli.models.spec import HUB, NO_WEIGHTS, ModelSpec
from pure_cli.models.weights import load_weights
from pure_cli.quick_imports import compiler_later

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

LOCAL_RANKS = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")  # of torchrun, mpirun, srun


def load_model(
    spec: ModelSpec,
    weights: Path | str | None = None,
    seed: int = 0,
    size: int | None = None,
    notes: list[str] | None = None,
) -> nn.Module:
    """The network in eval mode, its parameters without gradients, on the CPU.

    Parameters
    ----------
    spec : what to build
    weights : a file, "none" for a seeded initialisation, or None for what the name promises: pretrained weights
        of torchvision, timm and the hub, what the function of a file returns
    seed : of the initialisation; the same seed gives the same network
    size : side of the images in pixels, for networks that are made for one size; None for their own
    notes : sentences that the user should read are added to it

    Raises
    ------
    PureError
        Unknown name, weights that do not fit, a file whose function fails.
    PureFailure
        Weights would have to be downloaded and cannot be.
    """
    with torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):  # what a model prints is no result
        torch.manual_seed(seed)
        said: list[str] = []
        model = {
            "torchvision": _torchvision,
            "timm": _timm,
            HUB: lambda spec, pretrained, size: build(spec, pretrained, said),
            "pure": _shipped,
            "python": _handed_over,
            "file": _from_file,
        }[spec.kind](spec, weights is None, size)
        model = require_plain(model, "The model" if spec.kind == "python" else f"What {spec} gives")
        unwrap_parts(model)
        if weights is not None and str(weights) != NO_WEIGHTS:
            said += load_weights(model, here(weights))
        said += make_plain(model, size)
    if notes is not None:
        notes += said
    return model.requires_grad_(False)


def own_preprocessing(spec: ModelSpec) -> Preprocessing:
    """How the model wants its images, by its weights' own description; ImageNet's mean and deviation, and no
    resizing, where there is none."""
    if spec.kind == "torchvision":
        return _torchvision_preprocessing(spec.name)
    if spec.kind == "timm":
        return _timm_preprocessing(spec.name)
    if spec.kind == HUB:
        return processor_preprocessing(spec)
    return given_preprocessing(spec) if spec.kind == "python" else Preprocessing()


def remembered_preprocessing(spec: ModelSpec, values: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing that a workspace remembers, as `Preprocessing.as_dict` gave it; a function is the model's."""
    return given_preprocessing(spec) if "transform" in values else Preprocessing.from_dict(values)


def find_devices(names: str) -> list[torch.device]:
    """The devices for names, with commas between them; "auto" is the fastest that is there.

    Raises
    ------
    PureError
        One of them is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = {"cpu": True, "cuda": count > 0, "mps": torch.backends.mps.is_available()}
    found = []
    for name in names.split(","):
        kind, _, number = name.partition(":")
        if kind == "auto":
            name = kind = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
            if kind == "cuda" and (own := launched_on(os.environ)) is not None:
                name = f"cuda:{own % count}"
        if not there[kind]:
            raise PureError(f"There is no {kind} device on this machine. Use --device auto or --device cpu.")
        if number and int(number) >= count:
            raise PureError(f"There is no {name} on this machine, only {', '.join(f'cuda:{i}' for i in range(count))}.")
        found.append(torch.device(name))
    return found


def launched_on(environment: Mapping[str, str]) -> int | None:
    """Which of the processes on its machine this is, from 0 on, where a launcher says it: each gets a GPU of its
    own."""
    said = next(filter(None, map(environment.get, LOCAL_RANKS)), "")
    return int(said) if said.isdecimal() else None


def _torchvision(spec: ModelSpec, pretrained: bool, size: int | None) -> nn.Module:
    with compiler_later():
        import torchvision

    known = torchvision.models.list_models()
    if spec.name not in known:
        raise unknown("torchvision model", spec.name, known)
    if not pretrained:
        return torchvision.models.get_model(
            spec.name, weights=None, **_quiet_init(spec.name), **_sized(spec.name, size)
        )
    weights = torchvision.models.get_model_weights(spec.name).DEFAULT
    try:
        with impatient(weights.url):
            return torchvision.models.get_model(spec.name, weights=weights)
    except OSError as error:
        raise _no_download(spec, weights.url, error) from None


def _quiet_init(name: str) -> dict[str, bool]:
    """GoogLeNet and Inception warn unless told how to initialise."""
    return {"init_weights": True} if name in ("googlenet", "inception_v3") else {}


def _sized(name: str, size: int | None) -> dict[str, Any]:
    """Torchvision's networks that take images of one size are told which."""
    if size is None:
        return {}
    return {"image_size": size} if name.startswith("vit_") else {"input_size": (size, size)} if "maxvit" in name else {}


def _timm(spec: ModelSpec, pretrained: bool, size: int | None) -> nn.Module:
    with compiler_later():
        import timm

    config = _timm_config(spec.name)
    sized: dict[str, Any] = (
        {"img_size": size} if config.fixed_input_size and size not in (None, config.input_size[-1]) else {}
    )
    if not pretrained:
        return timm.create_model(spec.name, pretrained=False, **sized)
    if not config.has_weights:
        raise PureError(f"timm has no trained weights of {spec.name}. Pass a file with --weights FILE.")
    url = str(config.url)
    if config.hf_hub_id:
        url = f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{config.hf_hub_filename or 'model.safetensors'}"
    try:
        with impatient(None if config.hf_hub_id else url):
            return timm.create_model(spec.name, pretrained=True, **sized)
    except RuntimeError as error:  # weights that cannot be made to fit
        raise PureError(
            f"The trained weights of {spec} do not fit images of {size} pixels: {first_line(error)}. "
            "Leave out --crop-size."
        ) from None
    except Exception as error:  # the hub raises errors of many packages when it cannot be reached
        raise _no_download(spec, url, error) from None


def _timm_config(name: str) -> "PretrainedCfg":
    """How timm describes the weights of a model.

    Raises
    ------
    PureError
        There is no such model, or it has no such weights.
    """
    with compiler_later():
        import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown("timm model", name, timm.list_models())
    weights = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in weights:
        raise unknown("timm model", name, weights)
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise unknown("timm model", name, timm.list_models(pretrained=True))
    return config


def _no_download(spec: ModelSpec, url: str | None, error: Exception) -> PureFailure:
    where = f"get {url}" if url else "get its checkpoint"
    return PureFailure(
        f"The weights of {spec} are not on this machine and cannot be downloaded ({type(error).__name__}). "
        f"On a machine with a network, {where}, and pass the file with --weights FILE."
    )


def _handed_over(spec: ModelSpec, pretrained: bool, size: int | None) -> nn.Module:
    return given_model(spec)


def _shipped(spec: ModelSpec, pretrained: bool, size: int | None) -> nn.Module:
    from pure_cli.demo.network import digits

    return digits()


def _from_file(spec: ModelSpec, pretrained: bool, size: int | None) -> Any:
    with neighbours(spec):
        function = function_in(import_file(spec), spec)
        if isinstance(function, nn.Module):
            return copied(function)  # what a neighbour made stays as it is for the next time
        try:
            return function()
        except (Exception, SystemExit) as error:
            raise PureError(
                f"{spec} failed: {type(error).__name__}: {first_line(error)}. See where with --debug."
            ) from error


def _torchvision_preprocessing(name: str) -> Preprocessing:
    with compiler_later():
        import torchvision

    known = torchvision.models.list_models()
    if name not in known:
        raise unknown("torchvision model", name, known)
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return of_preset(transform) if hasattr(transform, "crop_size") else Preprocessing()


def _timm_preprocessing(name: str) -> Preprocessing:
    config = _timm_config(name)
    size = (config.test_input_size or config.input_size)[-1]
    crop = config.test_crop_pct or config.crop_pct or 1.0
    return Preprocessing(
        resize=int(size / crop),
        crop_size=size,
        interpolation=config.interpolation if config.interpolation in ("bilinear", "bicubic") else "bicubic",
        mean=_rgb(config.mean),
        std=_rgb(config.std),
    )


def _rgb(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
