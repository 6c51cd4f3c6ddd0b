"""The layers of a network as one pass over an image shows them: names, shapes, order, and what leads to what."""

from contextlib import suppress
from dataclasses import dataclass

import torch
import zennit.types
from torch import nn

from pure_cli.core.circuits import activations, forward_to
from pure_cli.core.hooks import FUNCTION, function_of, functions, is_function
from pure_cli.core.layout import axis_of, ends_dense, is_map
from pure_cli.core.memory import is_out_of_memory
from pure_cli.errors import PureError, unknown
from pure_cli.models.failures import failure

SHOWN_FUNCTIONS = ("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish",
                   "hardtanh", "sigmoid", "tanh", "softplus", "add", "cat")  # fmt: skip
ACTIVATION_FUNCTIONS = SHOWN_FUNCTIONS[:-2]
ACTIVATION_MODULES = ("ReLU", "ReLU6", "LeakyReLU", "ELU", "GELU", "SiLU", "Mish", "Hardswish", "Hardtanh", "Softplus")
FUNCTION_KIND = "function"
PROBE_SIZE = 224  # pixels, where neither the preprocessing nor an image says otherwise


@dataclass(frozen=True)
class Layer:
    """A named module that ran, or a function that one called.

    Attributes
    ----------
    name : as in ``model.named_modules()``, and as in `pure_cli.core.hooks` for functions
    kind : class of the module, or "function"
    shape : of its output for one image, without the batch; None where the output is no single tensor with one row for
        each image
    calls : how often one pass calls it
    axis : which axis of `shape` has the channels
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    calls: int
    axis: int = 0

    @property
    def extent(self) -> tuple[int, ...]:
        """Sizes of the axes of its positions: (h, w), (T,), or none at all."""
        return () if self.shape is None else self.shape[: self.axis] + self.shape[self.axis + 1 :]

    @property
    def channels(self) -> int:
        """How many neurons it has; 0 where there is no telling."""
        return self.shape[self.axis] if self.shape else 0


def list_layers(model: nn.Module, image: torch.Tensor) -> list[Layer]:
    """Every named module in the order in which it finished, and the functions that change activations in between.

    Parameters
    ----------
    model : in eval mode
    image : (1, 3, H, W) float
    """
    names = {module: name for name, module in model.named_modules() if name}
    found: dict[str, Layer] = {}
    size = (image.shape[-2], image.shape[-1])
    shown = image

    def add(name: str, kind: str, output: object, calls: int) -> None:
        layer = Layer(name, kind, None, calls)
        if isinstance(output, torch.Tensor) and 2 <= output.ndim <= 4 and len(output) == len(shown):
            dense = len(set(output.shape[1:])) == 1 and ends_dense(model, name)
            seen = Layer(name, kind, tuple(output.shape[1:]), calls, axis_of(output, size, dense))
            layer = seen if len(seen.extent) != 2 or is_map(seen.extent, size) else layer
        if layer.shape or kind != FUNCTION_KIND:
            found[name] = layer

    def note(module: nn.Module, _: object, output: object) -> None:
        name = names[module]
        add(name, type(module).__name__, output, found.pop(name).calls + 1 if name in found else 1)

    def note_function(name: str, output: torch.Tensor, _: object) -> None:
        if function_of(name) in SHOWN_FUNCTIONS:
            add(name, FUNCTION_KIND, output, 1)

    handles = [module.register_forward_hook(note) for module in names]
    try:
        for count in (2, 1):  # that windows or heads take the place of images is seen with two; one is a last resort
            shown = image.expand(count, -1, -1, -1)
            found.clear()
            try:
                with torch.no_grad(), functions(model, note_function):
                    model(shown)
                break
            except (RuntimeError, MemoryError) as error:
                if count == 1 or not is_out_of_memory(error):
                    raise
    except Exception as error:
        raise failure(model, image, error) from error
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(model.named_modules())
    return [layer for layer in found.values() if not _is_within(layer, found, modules)]


def _is_within(layer: Layer, found: dict[str, Layer], modules: dict[str, nn.Module]) -> bool:
    """A function is what a module of torch does, and that runs once: the module's name says the same."""
    module, colon, _ = layer.name.partition(FUNCTION)
    own = type(modules[module]).__module__.startswith("torch.nn.") if colon else False
    return own and module in found and found[module].calls == 1


def check_layer(name: str, layers: list[Layer]) -> Layer:
    """The layer of that name, if neurons can be read there.

    Raises
    ------
    PureError
        No such layer (the nearest are named), one that did not run, ran more than once, or gives no single tensor.
    """
    by_name = {layer.name: layer for layer in layers}
    if name not in by_name:
        raise unknown("layer", name, by_name, "`pure collect --list-layers` shows them all.")
    layer = by_name[name]
    if layer.calls > 1:
        raise PureError(f"The layer '{name}' runs {layer.calls} times in one pass, so that its output is not one "
                        "thing. Choose a layer that runs once.")  # fmt: skip
    if layer.shape is None or not layer.shape:
        raise PureError(f"The layer '{name}' ({layer.kind}) gives no single tensor with a row for each image, an axis "
                        "of channels, and a map of the image or tokens. Choose another.")  # fmt: skip
    return layer


class NoGradient(PureError):
    """The network cannot be differentiated."""


def check_leads_to(model: nn.Module, image: torch.Tensor, layer: str, lower_layers: list[str]) -> None:
    """Make sure that what happens at each lower layer can change the layer.

    Raises
    ------
    PureError
        The first lower layer that does not lead to the layer.
    NoGradient
        The network changes an activation in place that its gradient needs.
    """
    for lower in lower_layers:
        message = f"The lower layer '{lower}' does not lead to '{layer}'. Choose one that comes before it."
        if lower == layer:
            raise PureError(message)
        activation, tensors = forward_to(model, image, layer, [lower])
        if lower not in tensors or not activation.requires_grad:
            raise PureError(message)
        try:
            (gradient,) = torch.autograd.grad(activation.sum(), tensors[lower], allow_unused=True)
        except RuntimeError as error:
            if "inplace" not in str(error):
                raise
            raise NoGradient(
                f"{type(model).__name__} changes in place, between '{lower}' and '{layer}', what its gradient needs, "
                "and so has no relevance. Write x = x + … in place of x += … there."
            ) from None
        if gradient is None:
            raise PureError(message)


def pre_activation(model: nn.Module, image: torch.Tensor, layer: str) -> str | None:
    """What goes into the ReLU that a layer ends with: the name of the module or function that gives it.

    None where the layer does not end with a ReLU.
    """
    names = {module: name for name, module in model.named_modules() if name}
    made_by: dict[int, str] = {}  # the last to give a tensor, by its id
    rectified: dict[int, str | None] = {}  # ids of the outputs of ReLUs
    alive: list[torch.Tensor] = []  # so that no id is given again
    found: list[str | None] = []

    def note(name: str, output: torch.Tensor, first: object, relu: bool) -> None:
        alive.extend(part for part in (output, first) if isinstance(part, torch.Tensor))
        if relu:
            rectified[id(output)] = made_by.get(id(first))
        elif id(output) != id(first) or id(output) not in rectified:
            made_by[id(output)] = name
        if name == layer:
            found.append(rectified.get(id(output)))

    def of_module(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, torch.Tensor):
            note(names[module], output, inputs[0] if inputs else None, isinstance(module, nn.ReLU))

    def of_function(name: str, output: torch.Tensor, first: object) -> None:
        note(name, output, first, function_of(name) == "relu")

    handles = [module.register_forward_hook(of_module) for module in names]
    try:
        with torch.no_grad(), functions(model, of_function):
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def candidates(model: nn.Module, image: torch.Tensor, layer: str, lower: str) -> list[str]:
    """Lower layers worth trying for a layer, the highest first: those from `lower` up that lead to it.

    The layer's parts one level down, and what comes out of activation functions inside of its last part; not what is
    the layer's own output by another name.
    """
    there = list_layers(model, image)
    order = [found.name for found in there]
    if lower in order and layer in order:
        there = there[order.index(lower) : order.index(layer)]
    own = activations(model, image, [layer])[layer]
    shape = tuple(own.shape[1:])
    parts = [found.name for found in there if found.name.rpartition(".")[0] == layer and not is_function(found.name)]
    chosen = []
    for found in reversed(there):
        own_call = is_function(found.name) and found.name.partition(FUNCTION)[0] == layer
        inside = own_call or (bool(parts) and found.name.startswith(parts[-1]))
        activation = function_of(found.name) in ACTIVATION_FUNCTIONS or found.kind in ACTIVATION_MODULES
        wanted = found.name == lower or found.name in parts or (inside and activation)
        if not wanted or found.calls > 1 or found.shape is None or len(found.shape) != len(shape):
            continue
        alike = (found.channels, *found.extent) == shape
        if not (alike and torch.equal(activations(model, image, [found.name])[found.name], own)):
            with suppress(PureError):
                check_leads_to(model, image, layer, [found.name])
                chosen.append(found.name)
    return chosen


def repeated(model: nn.Module, layers: list[Layer], layer: str) -> Layer | None:
    """The first module below a layer that zennit's rules would hook and that runs more than once: they keep one input
    for each module."""
    modules = dict(model.named_modules())
    order = [found.name for found in layers]
    hooked = zennit.types.Linear | zennit.types.AvgPool
    below = layers[: order.index(layer)]
    return next((one for one in below if one.calls > 1 and isinstance(modules.get(one.name), hooked)), None)


def check_rules(model: nn.Module, layers: list[Layer], layer: str) -> None:
    """Make sure that zennit's rules can be applied below a layer.

    Raises
    ------
    PureError
        A module with a rule of its own runs more than once, or computes with what is no parameter.
    """
    modules = dict(model.named_modules())
    for name in [found.name for found in layers]:
        if isinstance(modules.get(name), zennit.types.Linear) and "weight" not in modules[name]._parameters:
            raise PureError(
                f"The weight of '{name}' is made anew at each pass, by a hook or code of the model, and this rule can "
                "only be applied to parameters. Use gradient-x-input."
            )
    if found := repeated(model, layers, layer):
        raise PureError(
            f"The module '{found.name}' runs {found.calls} times below '{layer}', and this rule can only be applied "
            "where each runs once. Use attn-lrp or gradient-x-input."
        )
