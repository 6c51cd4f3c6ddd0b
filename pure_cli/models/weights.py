"""Weights from a file into a network: nothing in the file is run, and what does not fit is listed."""

import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from pure_cli.errors import PureError, first_line, unknown
from pure_cli.files import is_pointer
from pure_cli.models.identity import identity
from pure_cli.models.spec import PART, weights_place

WRAPPERS = (  # keys under which checkpoints keep weights, those to take first in front
    "state_dict", "model_state_dict", "model", "net", "params", "model_state", "network", "weights",
)  # fmt: skip
DEEPEST = 3  # keys within keys that are looked at
ADDED = frozenset(
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]
)  # to names, by wrappers
COUNTER = "n_averaged"  # of torch's AveragedModel, beside the weights
EXTRA = "_extra_state"  # what a module keeps that is no tensor
SHOWN = 3  # keys listed of each kind that does not fit

State = dict[str, Any]


def read_weights(path: Path) -> State:
    """The tensors of a ``.safetensors`` file or a torch checkpoint, out of its wrapping, on the CPU.

    Parameters
    ----------
    path : the file, or ``FILE#KEY`` for the weights under a key of it

    Raises
    ------
    PureError
        Not readable, not weights, or a checkpoint that would have to run code to be loaded.
    """
    return _without_added(next(iter(_read_states(path).values())))


def _read_states(path: Path) -> dict[str, State]:
    """All that may be the weights in a file, by the keys under which it lies, the most likely first."""
    file, part = weights_place(path)
    states = dict(sorted(_states(read_checkpoint(file)).items(), key=lambda item: _rank(item[0])))
    if not states:
        raise PureError(f"{file} holds no tensors by name. Save the model's state_dict() and pass that file.")
    if not part:
        return states
    chosen = {key: state for key, state in states.items() if key == part}
    for state in states.values():  # the names may have it in front
        own = {name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")}
        if own and not chosen:
            chosen[part] = own
    if not chosen:
        raise unknown(f"key of {file}", part, [key for key in states if key])
    return chosen


def _states(content: object, key: str = "", depth: int = 0) -> dict[str, State]:
    """Mappings from names to tensors in a checkpoint, by their own keys, joined by dots."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return {}
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    own = {name: value for name, value in named.items() if isinstance(value, torch.Tensor) or name.endswith(EXTRA)}
    found = {key: own} if own else {}
    for name, value in named.items():
        found |= _states(value, f"{key}.{name}".lstrip("."), depth + 1)
    return found


def _rank(key: str) -> int:
    """Places of a key among those that usually have the weights; tensors in no wrapping come behind."""
    last = key.rpartition(".")[2]
    return WRAPPERS.index(last) if last in WRAPPERS else len(WRAPPERS) + bool(last)


def read_checkpoint(path: Path) -> object:
    """What a ``.safetensors`` file or a torch checkpoint holds, on the CPU; nothing in it is run.

    Raises
    ------
    PureError
        Not readable, or it would have to run code to be loaded.
    """
    if is_pointer(path):
        raise PureError(f"{path} is a Git LFS pointer and no weights. Run 'git lfs pull' where it comes from.")
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


def load_weights(model: nn.Module, path: Path) -> list[str]:
    """Put the weights of a file into a model, all of them.

    Returns
    -------
    list of str
        Sentences on what was chosen: one of several weights, names without a part in front.

    Raises
    ------
    PureError
        With the keys that are missing, not known to the model, or of another shape.
    """
    own = model.state_dict()
    file, _ = weights_place(path)
    states = _read_states(path)
    ways = [way for key, state in states.items() for way in _ways(key, state, own)]
    fitting = [way for way in ways if not _problems(way.state, own)]
    if not fitting:
        nearest = max(ways, key=lambda way: len(way.state.keys() & own.keys()))
        raise PureError(f"The weights in {file} do not fit the model. {'; '.join(_problems(nearest.state, own))}.")
    taken = fitting[0]
    model.load_state_dict(taken.state, strict=False)
    notes = [f"Of the names in {file}, {taken.change}."] if taken.change else []
    others = [other.key for other in fitting[1:] if not _equal(other.state, taken.state)]
    if others:
        rest = " or ".join(f"--weights {file}{PART}{other}" for other in others)
        notes.append(f"{file} holds several weights that fit, and those of '{taken.key}' were taken; else pass {rest}.")
    return notes


@dataclass(frozen=True)
class _Way:
    """Weights by names that may be those of the model.

    Attributes
    ----------
    key : under which they lie in the file
    state : the weights
    change : of their names, in words; "" where that need not be said
    """

    key: str
    state: State
    change: str = ""


def _ways(key: str, state: State, own: State) -> Iterator[_Way]:
    """Weights as they are in a file, without what wrappers add to names, and as a part of the file or of the model."""
    if not own or not _problems(state, own):
        yield _Way(key, state)
        return
    names = dict(zip(_without_added(own), own, strict=True))
    short = {name: value for name, value in _without_added(state).items() if name != COUNTER}
    for way in _renamed(key, short, list(names)):
        yield replace(way, state={names.get(name, name): value for name, value in way.state.items()})


def _renamed(key: str, state: State, names: list[str]) -> Iterator[_Way]:
    yield _Way(key, state)
    for front in dict.fromkeys(name.removesuffix(names[0]) for name in state if name.endswith(f".{names[0]}")):
        within = {name.removeprefix(front): value for name, value in state.items() if name.startswith(front)}
        others = [name for name in state if not name.startswith(front)]
        left = f" and {len(others)} others left out ({_listed(others)})" if others else ""
        yield _Way(front.rstrip("."), within, f"'{front}' was taken off{left}")
    first = next(iter(state), "")
    for front in dict.fromkeys(name.removesuffix(first) for name in names if name.endswith(f".{first}")):
        yield _Way(key, {front + name: value for name, value in state.items()})


def _problems(state: State, own: State) -> list[str]:
    """In words, what of some weights does not fit a model."""
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in own]
    shapes = [
        f"{key} ({'×'.join(map(str, state[key].shape))} for {'×'.join(map(str, own[key].shape))})"
        for key in own
        if key in state
        and isinstance(own[key], torch.Tensor)
        and not is_lazy(own[key])
        and getattr(state[key], "shape", None) != own[key].shape
    ]
    return [
        f"{len(keys)} {what}: {_listed(keys)}"
        for keys, what in ((missing, "missing"), (extra, "not in the model"), (shapes, "of another shape"))
        if keys
    ]


def _listed(keys: list[str]) -> str:
    return f"{', '.join(keys[:SHOWN])}{', …' if len(keys) > SHOWN else ''}"


def _equal(state: State, other: State) -> bool:
    return state.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in state.items() if isinstance(value, torch.Tensor)
    )


def _without_added(state: State) -> State:
    """Names without what wrappers of modules add to them; as they are where that leaves two of one name."""
    short = {".".join(part for part in name.split(".") if part not in ADDED): value for name, value in state.items()}
    return short if len(short) == len(state) else state


def state_fingerprint(model: nn.Module) -> str:
    """Hash of all parameters and buffers of a model, and of what its modules keep beside them."""
    from hashlib import sha256

    digest = sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        if not isinstance(value, torch.Tensor):
            digest.update(identity(value).encode())
        elif not is_lazy(value):
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
