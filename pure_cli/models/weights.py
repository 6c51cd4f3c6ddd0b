"""Weights from a file into a network: nothing in the file is run, and what does not fit is listed."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from pure_cli.errors import PureError, first_line

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params")  # keys under which checkpoints keep weights
PREFIX = "module."  # DataParallel's
SHOWN = 3  # keys listed of each kind that does not fit


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.safetensors`` file or a torch checkpoint, out of its wrapping, on the CPU.

    Raises
    ------
    PureError
        Not readable, not weights, or a checkpoint that would have to run code to be loaded.
    """
    content = unwrapped(read_checkpoint(path))
    state = (
        {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not state:
        raise PureError(f"{path} holds no tensors by name. Save the model's state_dict() and pass that file.")
    if all(key.startswith(PREFIX) for key in state):
        state = {key.removeprefix(PREFIX): value for key, value in state.items()}
    return state


def read_checkpoint(path: Path) -> object:
    """What a ``.safetensors`` file or a torch checkpoint holds, on the CPU; nothing in it is run.

    Raises
    ------
    PureError
        Not readable, or it would have to run code to be loaded.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path, device="cpu")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on how other versions of it wrote
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise PureError(
            f"{path} holds more than weights (it would run code when loaded) or is no checkpoint. "
            "Save the model's state_dict() and pass that file."
        ) from None
    except Exception as error:
        raise PureError(
            f"{path} cannot be read as weights ({first_line(error)}). "
            "It may be cut short; give a .safetensors file or a torch checkpoint."
        ) from None


def unwrapped(content: object) -> object:
    """The weights in a checkpoint, without what they are wrapped in."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    return content


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the weights of a file into a model, all of them.

    Raises
    ------
    PureError
        With the keys that are missing, not known to the model, or of another shape.
    """
    state = read_weights(path)
    own = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in own]
    shapes = [
        f"{key} ({'×'.join(map(str, state[key].shape))} for {'×'.join(map(str, own[key].shape))})"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:SHOWN])}{', …' if len(keys) > SHOWN else ''}"
        for keys, what in ((missing, "missing"), (extra, "not in the model"), (shapes, "of another shape"))
        if keys
    ]
    if problems:
        raise PureError(f"The weights in {path} do not fit the model. {'; '.join(problems)}.")
    model.load_state_dict(state, strict=False)


def state_fingerprint(model: nn.Module) -> str:
    """Hash of all parameters and buffers of a model."""
    from hashlib import sha256

    digest = sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
