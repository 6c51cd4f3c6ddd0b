"""The layers of a network as one pass over an image shows them: names, shapes, order, and what leads to what."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
import zennit.types
from torch import nn

from pure_cli.core.circuits import activations, forward_to
from pure_cli.core.forward import NotReached
from pure_cli.core.hooks import FUNCTION, Call, function_of, functions, is_function
from pure_cli.core.layout import Patches, channel_axis, grid_of, is_map, told_by_shape
from pure_cli.core.memory import is_out_of_memory
from pure_cli.core.roles import NO_GRID, Role
from pure_cli.core.structure import FUNCTION_KIND, Seen, declared_channel_axes, ends_dense, observe
from pure_cli.errors import PureError, first_line, unknown
from pure_cli.models.failures import failure

SHOWN_FUNCTIONS = ("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish",
                   "hardtanh", "sigmoid", "tanh", "softplus", "add", "cat")  # fmt: skip
ACTIVATION_FUNCTIONS = SHOWN_FUNCTIONS[:-2]
ACTIVATION_MODULES = ("ReLU", "ReLU6", "LeakyReLU", "ELU", "GELU", "SiLU", "Mish", "Hardswish", "Hardtanh", "Softplus")
CUTS_SHOWN = 3  # calls that may have cut off a gradient
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
    sure : what the layers do, or the user, or a shape that can be read in one way only, says so
    grid : where its tokens lie on the image; None where they are no tokens, or lie nowhere
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    calls: int
    axis: int = 0
    sure: bool = True
    grid: Patches | None = None

    @property
    def extent(self) -> tuple[int, ...]:
        """Sizes of the axes of its positions: (h, w), (T,), or none at all."""
        return () if self.shape is None else self.shape[: self.axis] + self.shape[self.axis + 1 :]

    @property
    def channels(self) -> int:
        """How many neurons it has; 0 where there is no telling."""
        return self.shape[self.axis] if self.shape else 0

    @property
    def has_map(self) -> bool:
        """Whether its positions are places of the image."""
        return len(self.extent) == 2 or self.grid is not None


def list_layers(model: nn.Module, image: torch.Tensor) -> list[Layer]:
    """Every named module in the order in which it finished, and the functions that change activations in between.

    Parameters
    ----------
    model : in eval mode
    image : (1, 3, H, W) float
    """
    size = (image.shape[-2], image.shape[-1])
    try:
        for count in (2, 1):  # that windows or heads take the place of images is seen with two; one is a last resort
            try:
                seen = observe(model, image.expand(count, -1, -1, -1))
                break
            except (RuntimeError, MemoryError) as error:
                if count == 1 or not is_out_of_memory(error):
                    raise
    except Exception as error:
        raise failure(model, image, error, own_size(model)) from error
    found = {}
    for name, one in seen.layers.items():
        if one.kind == FUNCTION_KIND and function_of(name) not in SHOWN_FUNCTIONS:
            continue
        layer = _layer(name, one, ends_dense(model, name), size, seen.grids)
        if name in declared_channel_axes(model):
            layer = replace(layer, sure=True)
        if layer.shape or one.kind != FUNCTION_KIND:
            found[name] = layer
    modules = dict(model.named_modules())
    return [layer for layer in found.values() if not _is_within(layer, found, modules)]


def own_size(model: nn.Module) -> int | None:
    """The side of the images that a network says it is made for, as those of timm, torchvision and Hugging Face do."""
    for module in model.modules():
        for holder, name in (
            (module, "image_size"),
            (module, "img_size"),
            (getattr(module, "config", None), "image_size"),
        ):
            size = getattr(holder, name, None)
            size = size[0] if isinstance(size, tuple | list) and len(set(size)) == 1 else size
            if isinstance(size, int):
                return size
    return None


def _layer(name: str, seen: Seen, dense: bool | None, size: tuple[int, int], grids: set[tuple[int, int]]) -> Layer:
    """What a pass showed of a module or function, with its positions."""
    none = Layer(name, seen.kind, None, seen.calls)
    if seen.shape is None:
        return none
    shape = seen.shape[1:]
    axis = channel_axis(shape, size) if dense is None else len(shape) - 1 if dense else 0
    sure = len(shape) == 1 or (told_by_shape(shape, size) if dense is None else not seen.roles.torn)
    places = [role for i, role in enumerate(seen.roles.axes[1:]) if i != axis]
    layer = Layer(name, seen.kind, shape, seen.calls, axis, sure)
    if len(shape) == 2:
        return replace(layer, grid=_grid(layer.extent[0], places[0], size, grids))
    by_heads = any(isinstance(role, Patches) or role == NO_GRID for role in places)
    return none if len(shape) == 3 and (by_heads or not is_map((layer.extent[0], layer.extent[1]), size)) else layer


def _grid(tokens: int, role: Role, size: tuple[int, int], grids: set[tuple[int, int]]) -> Patches | None:
    """Where tokens lie on the image: as the pass showed it, or by their number where it showed nothing."""
    if role is not None:
        return role if isinstance(role, Patches) else None
    grid = grid_of(tokens, size)
    return grid if grid and (not grids or (grid.rows, grid.columns) in grids) else None


def _is_within(layer: Layer, found: dict[str, Layer], modules: dict[str, nn.Module]) -> bool:
    """A function is what a module of torch does, and that runs once: the module's name says the same."""
    module, colon, _ = layer.name.partition(FUNCTION)
    own = type(modules[module]).__module__.startswith("torch.nn.") if colon else False
    return own and module in found and found[module].calls == 1


def unclear(layers: list[Layer], names: Iterable[str]) -> list[str]:
    """A sentence for each of some layers whose channels may be on another axis than the one that was taken."""
    wanted = set(names)
    return [
        f"What the layers do does not tell which axis of '{layer.name}' ({' × '.join(map(str, layer.shape))}) has the "
        f"channels; the {'first' if layer.axis == 0 else 'last'} was taken. --channels-axis "
        f"{layer.name}={'last' if layer.axis == 0 else 'first'} takes the other."
        for layer in layers
        if layer.name in wanted and layer.shape and not layer.sure
    ]


def check_layer(name: str, layers: list[Layer], model: nn.Module | None = None) -> Layer:
    """The layer of that name, if neurons can be read there.

    Parameters
    ----------
    model : tells a layer that is not there from one that did not run

    Raises
    ------
    PureError
        No such layer (the nearest are named), one that did not run, ran more than once, or gives no single tensor.
    """
    by_name = {layer.name: layer for layer in layers}
    module = dict(model.named_modules()).get(name) if model and name else None
    if name not in by_name and module is not None and type(module).forward is not nn.Module.forward:
        raise PureError(f"The layer '{name}' does not run for every image: not for the first one, which was tried. "
                        "Choose one that always runs.")  # fmt: skip
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
        after = PureError(f"The lower layer '{lower}' does not lead to '{layer}'. Choose one that comes before it.")
        if lower == layer:
            raise after
        try:
            activation, tensors = forward_to(model, image, layer, [lower])
        except NotReached as error:
            raise (after if error.layer == lower else error) from None
        gradient = None
        try:
            if activation.requires_grad:
                (gradient,) = torch.autograd.grad(activation.sum(), tensors[lower], allow_unused=True)
        except RuntimeError as error:
            if "inplace" not in str(error):
                raise NoGradient(
                    f"What {type(model).__name__} computes between '{lower}' and '{layer}' has no gradient, and so no "
                    f"relevance: {first_line(error)}."
                ) from None
            raise NoGradient(
                f"{type(model).__name__} changes in place, between '{lower}' and '{layer}', what its gradient needs, "
                "and so has no relevance. Write x = x + … in place of x += … there."
            ) from None
        if gradient is None:
            raise _cut(model, image, layer, lower) if _changes(model, image, layer, lower) else after


def _changes(model: nn.Module, image: torch.Tensor, layer: str, lower: str) -> bool:
    """Whether other activations of a lower layer give others of a layer, whatever the gradient says."""
    outputs = []
    for change in (lambda values: values, lambda values: 0.5 * values + 1):
        output, _ = forward_to(model, image, layer, [lower], change)
        outputs.append(output.detach())
    return not torch.equal(*outputs)


def _cut(model: nn.Module, image: torch.Tensor, layer: str, lower: str) -> NoGradient:
    """The error for a layer that depends on a lower one without a gradient; it names what cut that off."""
    found: dict[str, None] = {}

    def note(name: str, output: torch.Tensor, call: Call) -> None:
        had = isinstance(call.first, torch.Tensor) and call.first.requires_grad
        if had and output.is_floating_point() and not output.requires_grad:
            found[name] = None

    with functions(model, note):
        forward_to(model, image, layer, [lower])
    where = " and ".join(_function_named(name, model) for name in list(found)[:CUTS_SHOWN]) or "its code"
    return NoGradient(
        f"'{layer}' is computed of '{lower}' without a gradient, and so has no relevance there: {where} cuts it off. "
        "Leave that out, or choose a lower layer behind it."
    )


def _function_named(name: str, model: nn.Module) -> str:
    """A function and who calls it, in words."""
    module = name.partition(FUNCTION)[0]
    return f"{function_of(name)}() in " + (f"'{module}'" if module else f"the forward() of {type(model).__name__}")


def is_activation(found: Layer) -> bool:
    """Whether a layer is what comes out of an activation function, element by element."""
    return function_of(found.name) in ACTIVATION_FUNCTIONS or found.kind in ACTIVATION_MODULES


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
        wanted = found.name == lower or found.name in parts or (inside and is_activation(found))
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
