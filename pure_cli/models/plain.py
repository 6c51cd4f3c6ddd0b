"""From a module as it was made to a plain one: torch's own modules, with parameters in float32 that stay what they are.

Wrappers (of torch.compile, of many devices, of averaged weights) are taken off; parameters that a hook makes anew at
each pass, or that the first pass makes, are made once. What cannot be made plain is refused, with what to do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedBuffer, is_lazy
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from pure_cli.errors import PureError
from pure_cli.models.failures import failure

INNER = {  # where modules that only wrap another one keep it, by their class
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
    "ModelEma": "module",
    "ModelEmaV2": "module",
    "ModelEmaV3": "module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
}
AS_WRITTEN = "_torchdynamo_orig_callable"  # attribute of what torch.compile made of a function
LAZY_SIZE = 224  # pixels of the pass that makes lazy parameters, where nothing says otherwise
PLAIN_MODULE = "Return the module that it was made from, with its weights (or pass those with --weights FILE)."


def without_wrapper(module: nn.Module) -> nn.Module:
    """The module that others only wrap."""
    while (name := INNER.get(type(module).__name__)) and isinstance(inner := getattr(module, name, None), nn.Module):
        module = inner
    return module


def copied(model: nn.Module) -> nn.Module:
    """A deep copy in the same mode. What passes left in the model is copied without its graph, which cannot be copied;
    what else cannot be (locks, open files) is shared."""
    own = _deep_copy(model).train(model.training)  # networks traced by torchvision come back in training mode
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in own.named_modules():
        module.training = modes.get(name, module.training)
    return own


def _deep_copy(model: nn.Module) -> nn.Module:
    with _WithoutGraphs():
        try:
            return copy.deepcopy(model)
        except Exception:  # of whatever the model keeps
            shared: dict[int, Any] = {}
            for module in model.modules():
                for value in vars(module).values():
                    try:
                        copy.deepcopy(value)
                    except Exception:
                        if not isinstance(value, dict):  # torch's own, of modules and tensors
                            shared[id(value)] = value
            return copy.deepcopy(model, shared)


class _WithoutGraphs(TorchFunctionMode):
    """Deep copies of tensors that were computed are tensors that were not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__deepcopy__ and not _can_be_copied(args[0]):
            tensor, memo = args
            if is_lazy(tensor):
                buffer = UninitializedBuffer(device=tensor.device, dtype=tensor.dtype)  # type: ignore[call-arg]
                return memo.setdefault(id(tensor), buffer)
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def _can_be_copied(tensor: torch.Tensor) -> bool:
    if is_lazy(tensor):
        return isinstance(tensor, nn.Parameter)
    return tensor.is_leaf and not tensor.is_inference()


def require_plain(model: object, name: str) -> nn.Module:
    """What a function returned, or was handed over, as a module that can be worked with, out of its wrappers.

    Raises
    ------
    PureError
        It is no module, or one without modules or parameters of its own (scripted, exported, quantised, …).
    """
    if not isinstance(model, nn.Module):
        raise PureError(f"{name} is {_no_module(model)}.")
    model = without_wrapper(model)
    for inner, reason in _reasons(model):
        where = f"{name} is" if not inner else f"The module '{inner}' of {name[0].lower()}{name[1:]} is"
        raise PureError(f"{where} {reason}")
    return model


def make_plain(model: nn.Module, size: int | None) -> list[str]:
    """Change a model, in place, so that its modules and parameters are plain; for eval mode.

    Parameters
    ----------
    model : from `require_plain`, with its weights
    size : side in pixels of the images that it takes, None where any will do

    Returns
    -------
    list of str
        Sentences that the user should read.

    Raises
    ------
    PureError
        The pass that makes lazy parameters fails.
    """
    kinds = {values.dtype for values in model.parameters() if values.is_floating_point()} - {torch.float32}
    if kinds:
        model.float()
    model.eval()
    notes = _make_lazy(model, size or LAZY_SIZE)
    for module in model.modules():
        _make_parameters(module)
    _keep_lists_short(model)
    if kinds:
        named = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        notes.append(f"The model's parameters are {named}; they are used as float32.")
    return notes


def unwrap_parts(model: nn.Module) -> None:
    """Take the wrappers off all modules of a model, in place; what was to be compiled runs as it was written."""
    for module in model.modules():
        module._compiled_call_impl = None
        for name in dir(type(module)):
            if written := getattr(getattr(type(module), name, None), AS_WRITTEN, None):
                setattr(module, name, written.__get__(module))
        for name, value in list(vars(module).items()):
            if written := getattr(value, AS_WRITTEN, None):
                setattr(module, name, written)
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = without_wrapper(child)


def _no_module(value: object) -> str:
    """What something is that is no module, and what to do."""
    kind = type(value).__name__
    if kind == "ExportedProgram":
        return f"an {kind}, which has no modules any more. {PLAIN_MODULE.rstrip('.')}"
    if isinstance(value, Mapping) and any(isinstance(one, torch.Tensor) for one in value.values()):
        return f"a {kind} of weights, and a torch.nn.Module is needed: build the network and load them into it"
    if isinstance(value, tuple | list) and any(isinstance(one, nn.Module) for one in value):
        place = next(place for place, one in enumerate(value) if isinstance(one, nn.Module))
        return f"a {kind}, and a torch.nn.Module alone is needed: return its item {place}"
    return f"{'an' if kind[:1] in 'AEIOU' else 'a'} {kind}, and a torch.nn.Module is needed"


def _reasons(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of modules that cannot be worked with, and why."""
    for name, module in model.named_modules():
        kind = f"{type(module).__module__}.{type(module).__name__}"
        if isinstance(module, torch.jit.ScriptModule):
            yield name, f"scripted or traced (TorchScript), in which nothing can be looked at. {PLAIN_MODULE}"
        elif "FullyShardedDataParallel" in kind:
            yield name, f"spread over processes (FSDP). Save its full state_dict(). {PLAIN_MODULE}"
        elif (kind.startswith("torch") and ".quantized." in kind) or kind.startswith("bitsandbytes."):
            yield name, f"quantised ({type(module).__name__}), and has no gradient. {PLAIN_MODULE}"
        elif isinstance(module, torch.fx.GraphModule) and _is_exported(module):
            yield name, f"what torch.export made, which has no modules any more. {PLAIN_MODULE}"
        for own, values in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if is_lazy(values):
                continue
            where = f"{name}.{own}".lstrip(".")
            if values.is_meta:
                yield (
                    "",
                    (f"without weights: '{where}' is on the meta device. Make it on the CPU, with its weights."),
                )
            elif values.is_quantized or is_traceable_wrapper_subclass(values):
                yield "", f"quantised or spread over processes: '{where}' is a {type(values).__name__}. {PLAIN_MODULE}"


def _is_exported(module: torch.fx.GraphModule) -> bool:
    return any(isinstance(node.target, torch._ops.OpOverload) for node in module.graph.nodes)


def _make_lazy(model: nn.Module, size: int) -> list[str]:
    """Let one pass make the parameters whose shapes depend on what comes in; a sentence where their values are new."""
    if not any(isinstance(module, LazyModuleMixin) for module in model.modules()):
        return []
    unmade = [name for name, values in model.named_parameters() if is_lazy(values)]
    image = torch.zeros(1, 3, size, size)
    try:
        with torch.no_grad():
            model(image)
    except Exception as error:
        raise failure(model, image, error) from error
    if not unmade:
        return []
    return [f"No pass had made {len(unmade)} of the model's parameters yet ({unmade[0]}, …); their values are random."]


def _make_parameters(module: nn.Module) -> None:
    """Make once what hooks and parametrizations make anew at each pass."""
    for hook in reversed(list(module._forward_pre_hooks.values())):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
    if parametrize.is_parametrized(module):
        kind = type(module)  # made by torch for this module, and shared with those that this one is a copy of
        own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
        module.__class__ = type(kind.__name__, kind.__bases__, own)
        for name in list(module.parametrizations):  # type: ignore[arg-type]
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _keep_lists_short(model: nn.Module) -> None:
    """Let lists to which every pass appends, as of activations that the user looks at, keep those of the first pass
    only: a pass over many images would fill the memory."""
    passes = 0
    lengths: dict[tuple[str, str], int] = {}  # by names, which hold for copies of the model too

    def shorten(root: nn.Module, _: object) -> None:
        nonlocal passes
        passes += 1
        if passes == 2:
            lengths.update(
                ((name, own), len(value))
                for name, module in root.named_modules()
                for own, value in vars(module).items()
                if isinstance(value, list)
            )
        for (name, own), length in lengths.items():
            value = getattr(root.get_submodule(name), own, None)
            if isinstance(value, list):
                del value[length:]

    model.register_forward_pre_hook(shorten, prepend=True)
