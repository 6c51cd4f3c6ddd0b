"""What a layer ends with, as one pass over an image shows it: a ReLU, or a nonlinearity that is bounded above."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from pure_cli.core.circuits import activations, forward_to
from pure_cli.core.forward import NotReached, run
from pure_cli.core.hooks import FUNCTION, INPUT, Call, function_of, functions
from pure_cli.core.saturation import Bound
from pure_cli.errors import PureError

KEEP = ("dropout", "feature_dropout", "alpha_dropout", "clone", "contiguous", "float", "to")  # give what they take
TOLERANCE = 1e-6  # of the largest output, between the layer and what its end makes of its input


@dataclass
class _Ends:
    """What is known of the tensors of a pass, by their ids.

    Attributes
    ----------
    made_by : the last module or function to give a tensor
    rectified : outputs of ReLUs: what gave the ReLU's input
    bounds : outputs of bounded functions
    calls : of each module
    alive : all of them, so that no id is given again
    """

    made_by: dict[int, str] = field(default_factory=dict)
    rectified: dict[int, str | None] = field(default_factory=dict)
    bounds: dict[int, Bound] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    alive: list[object] = field(default_factory=list)

    def note(self, name: str, output: torch.Tensor, first: object, relu: bool) -> None:
        """What a module or function made of its first argument."""
        self.alive += [output, first]
        if relu:
            self.rectified[id(output)] = self.made_by.get(id(first))
        elif id(output) != id(first) or id(output) not in self.rectified:
            self.made_by[id(output)] = name

    def note_bound(self, name: str, output: torch.Tensor, call: Call) -> None:
        """Whether what a function made is bounded."""
        function, before = function_of(name), self.bounds.get(id(call.first))
        bound = Bound.of(name, function, call)
        if bound is None and before is not None:
            after = _affine(function, call)
            if function in KEEP:
                bound = before
            elif after is not None:
                bound = before.then(*after)
        if bound is None:
            self.bounds.pop(id(output), None)  # changed in place
        else:
            self.bounds[id(output)] = bound


def pre_activation(model: nn.Module, image: torch.Tensor, layer: str) -> str | None:
    """What goes into the ReLU that a layer ends with: the name of the module or function that gives it.

    None where the layer does not end with a ReLU.
    """
    ends, output = _ends(model, image, layer)
    return ends.rectified.get(id(output))


def upper_bound(model: nn.Module, image: torch.Tensor, layer: str) -> Bound | None:
    """The bounded nonlinearity that a layer ends with; None where there is none.

    Parameters
    ----------
    model : in eval mode
    image : (1, 3, H, W) float
    layer : name of a module or function that runs once
    """
    ends, output = _ends(model, image, layer)
    bound = ends.bounds.get(id(output))
    if bound is None:
        return None
    module, _, called = bound.source.removesuffix(INPUT).partition(FUNCTION)
    alone = called and ends.calls.get(module) == 1
    if alone and type(model.get_submodule(module)).__module__ == nn.modules.activation.__name__:
        kind = type(model.get_submodule(module)).__name__
        bound = replace(bound, source=f"{module}{INPUT}", module=kind)  # a hook of the module costs nothing
    z = activations(model, image, [layer], bounds={layer: bound})[layer]
    found = activations(model, image, [layer])[layer]
    made = bound.output(z)
    same = made.shape == found.shape and bool((made - found).abs().max() <= TOLERANCE * max(1.0, abs(bound.highest)))
    return bound if same else None


def check_before(model: nn.Module, image: torch.Tensor, layer: str, lower_layers: Sequence[str], bound: Bound) -> None:
    """Make sure that lower layers come before the bound that a layer ends with.

    Raises
    ------
    PureError
        The first that does not.
    """
    try:
        forward_to(model, image, layer, lower_layers, bound=bound)
    except NotReached as error:
        raise PureError(
            f"The lower layer '{error.layer}' is the {bound.name} that '{layer}' ends with, or comes after it. Choose "
            "one that comes before it."
        ) from None


def _ends(model: nn.Module, image: torch.Tensor, layer: str) -> tuple[_Ends, object]:
    """What is known after a pass, and the output of a layer."""
    names = {module: name for name, module in model.named_modules() if name}
    ends = _Ends()
    found: list[torch.Tensor | None] = [None]

    def of_module(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        name = names[module]
        ends.calls[name] = ends.calls.get(name, 0) + 1
        if isinstance(output, torch.Tensor):
            ends.note(name, output, inputs[0] if inputs else None, isinstance(module, nn.ReLU))
            if name == layer:
                found.append(output)

    def of_function(name: str, output: torch.Tensor, call: Call) -> None:
        ends.note(name, output, call.first, function_of(name) == "relu")
        ends.note_bound(name, output, call)
        if name == layer:
            found.append(output)

    with torch.no_grad(), ExitStack() as stack:
        for module in names:
            stack.callback(module.register_forward_hook(of_module).remove)
        stack.enter_context(functions(model, of_function))
        run(model, image)
    return ends, found[-1]


def _affine(function: str, call: Call) -> tuple[float, float] | None:
    """(scale, shift) of a multiplication by a number or an addition of one; None of all else."""
    if function in ("neg", "negative") and len(call.arguments) == 1 and not call.named:
        return -1.0, 0.0
    numbers = [value for value in call.arguments[1:] if isinstance(value, int | float)]
    if len(call.arguments) != 2 or len(numbers) != 1 or call.named:
        return None
    number = float(numbers[0])
    if function in ("mul", "div") and number:
        return (number if function == "mul" else 1 / number), 0.0
    if function in ("add", "sub", "rsub"):
        return (-1.0 if function == "rsub" else 1.0), (-number if function == "sub" else number)
    return None
