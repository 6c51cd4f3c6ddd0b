"""What to say of a model that fails on an image: in which module, and what to do where that is known."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from pure_cli.core.memory import is_out_of_memory
from pure_cli.errors import PureError, first_line

SIZES = (224, 32, 256, 64, 384, 28, 128, 299, 518, 512)  # pixels, that networks are made for
_OTHER_NUMBERS = re.compile(r"[Dd]ouble|Half|BFloat16|dtype|datatype")  # in torch's own words
WRAPPING = "docs/models.md shows a function that wraps it"


def failure(model: nn.Module, image: torch.Tensor, error: Exception, own_size: int | None = None) -> PureError:
    """The error for a pass that failed.

    Parameters
    ----------
    model : in eval mode
    image : (1, 3, H, W) float, on which it failed
    error : as it came, with its traceback
    own_size : side of the images that the model says it is made for
    """
    height, width = image.shape[-2:]
    name = innermost(model, error)
    where = f" in its module '{name}'" if name else ""
    what = f"{type(error).__name__}: {first_line(error)}"
    advice = _advice(model, image, error, name, [own_size, *SIZES] if own_size else SIZES)
    return PureError(
        f"The model fails on an image of {width} × {height} pixels{where}: {what}.{' ' + advice if advice else ''}"
    )


def innermost(model: nn.Module, error: BaseException) -> str:
    """Name of the module that ran where an error was raised; "" where that is the model itself or none of its own."""
    names = {id(module): name for name, module in model.named_modules()}
    found, trace = "", error.__traceback__
    while trace is not None:
        found = names.get(id(trace.tb_frame.f_locals.get("self")), found)
        trace = trace.tb_next
    return found


def _advice(model: nn.Module, image: torch.Tensor, error: Exception, name: str, sizes: Sequence[int]) -> str:
    """What to do; "" where that is not known."""
    if is_out_of_memory(error):
        return "Make images smaller with --resize and --crop-size, or use another --device."
    needed = _inputs_needed(model)
    if isinstance(error, TypeError) and not name and len(needed) != 1:
        more = f"needs {' and '.join(map(repr, needed[1:]))} beside the image" if needed else "takes no image"
        return f"Its forward() {more}: return a module that calls it with what it needs; {WRAPPING}."
    module = model.get_submodule(name)
    channels = getattr(module, "in_channels", image.shape[1])
    if f"to have {channels} channels, but got {image.shape[1]} channels" in str(error):
        return f"It takes images of {channels} channel{'s'[: channels != 1]}, and pure gives 3 (RGB): {WRAPPING}."
    names = list(_parameters(model) or ())
    if "pixel_values" in names[1:]:
        return (
            f"Its first input is '{names[0]}', and pure gives images: hand over its part that takes them; {WRAPPING}."
        )
    if _OTHER_NUMBERS.search(str(error)):
        return (
            "pure computes in float32, and its code makes numbers of another kind: leave out .half(), .double() and "
            "the like, or let them follow the weights, as in x.to(self.fc.weight.dtype)."
        )
    if "same device" in str(error):
        return "It keeps a tensor that does not go with it to the device: use register_buffer, or --device cpu."
    if size := _size_that_runs(model, image, sizes):
        return f"It runs on {size} × {size} pixels: --resize {size} --crop-size {size}."
    return "See where with --debug."


def _parameters(model: nn.Module) -> Mapping[str, inspect.Parameter] | None:
    """The inputs of forward(), by name; None where there is no telling."""
    try:
        return inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return None


def _inputs_needed(model: nn.Module) -> list[str]:
    """Names of the inputs of forward() that have no default."""
    known = _parameters(model)
    if known is None:
        return ["image"]
    parameters = known.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return ["image"]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one.name for one in parameters if one.kind in kinds and one.default is one.empty]


def _size_that_runs(model: nn.Module, image: torch.Tensor, sizes: Sequence[int]) -> int | None:
    """Side of images on which the model does run."""
    for size in sizes:
        try:
            with torch.no_grad():
                model(image.new_zeros(1, image.shape[1], size, size))
        except Exception:  # as it just did
            continue
        if tuple(image.shape[-2:]) != (size, size):
            return size
    return None
