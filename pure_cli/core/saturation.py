"""Bounded nonlinearities that a layer ends with, and what the layer would give without their upper bound.

Where ReLU6 gives six, all that goes in above six is one: images cannot be ranked by it, and no gradient comes through.
Such a function is monotone, so its input tells the same order, and goes on telling it where the function is flat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import atanh, inf, log, pi, sqrt, tan
from typing import Any

import torch
from torch.nn import functional as F

from pure_cli.core.hooks import INPUT, Call


@dataclass(frozen=True)
class Smooth:
    """A function that is steepest at zero, where it has this value and slope."""

    apply: Callable[[torch.Tensor], torch.Tensor]
    inverse: Callable[[float], float]
    value: float
    slope: float
    low: float
    high: float = 1.0


SMOOTH = {
    "sigmoid": Smooth(torch.sigmoid, lambda y: log(y / (1 - y)), 0.5, 0.25, 0.0),
    "tanh": Smooth(torch.tanh, atanh, 0.0, 1.0, -1.0),
    "softsign": Smooth(F.softsign, lambda y: y / (1 - abs(y)), 0.0, 1.0, -1.0),
    "erf": Smooth(
        torch.erf, lambda y: float(torch.erfinv(torch.tensor(y, dtype=torch.float64))), 0.0, 2 / sqrt(pi), -1.0
    ),
    "atan": Smooth(torch.atan, tan, 0.0, 1.0, -pi / 2, pi / 2),
}  # each turned half a turn about its middle is itself
SAME = {
    "special_expit": "sigmoid",
    "special_erf": "erf",
    "arctan": "atan",
    "clip": "clamp",
}  # functions by another name


@dataclass(frozen=True)
class Bound:
    """A bounded, monotone, element-wise function ``scale × f(u) + shift`` that a layer ends with, where u is z, which
    goes in, or its negative: ``u = sign × z``.

    Attributes
    ----------
    source : the name of z, as in `pure_cli.core.hooks`
    function : what f is called: relu6, hardtanh, clamp, hardsigmoid, sigmoid, tanh, softsign, erf, atan
    gain, offset, low, high : of an f that is no smooth one: ``clamp(gain × u + offset, low, high)``
    module : the class of the module that calls it, where that does nothing else
    """

    source: str
    function: str
    gain: float = 1.0
    offset: float = 0.0
    low: float = -inf
    high: float = inf
    scale: float = 1.0
    shift: float = 0.0
    sign: float = 1.0
    module: str = ""

    @property
    def _smooth(self) -> Smooth | None:
        return SMOOTH.get(self.function)

    @property
    def name(self) -> str:
        """What users call it."""
        return self.module or self.function

    @classmethod
    def of(cls, name: str, function: str, call: Call) -> Bound | None:
        """The bound of a call of a function of torch; None where it is not bounded above, or not by a plain number.

        Parameters
        ----------
        name : of the call
        function : what it is called
        """
        source, function = f"{name}{INPUT}", SAME.get(function, function)
        if function in SMOOTH:
            return cls(source, function)
        if function == "relu6":
            return cls(source, function, low=0.0, high=6.0)
        if function == "hardsigmoid":
            return cls(source, function, 1 / 6, 0.5, 0.0, 1.0)
        limits = _limits(function, call.arguments[1:], call.named)
        if limits is None or limits[1] == inf:
            return None
        return cls(source, function, low=limits[0], high=limits[1])

    def then(self, scale: float, shift: float) -> Bound:
        """The same with a multiplication by a number, but zero, and an addition after it."""
        scale, shift = self.scale * scale, self.shift * scale + shift
        if scale > 0:
            return replace(self, scale=scale, shift=shift)
        # f(u) = twice its middle - f(-u), and clamps turn round with their limits
        turned = replace(self, sign=-self.sign, scale=-scale)
        if self._smooth:
            return replace(turned, shift=shift + scale * 2 * self._smooth.value)
        if self.function == "hardsigmoid":
            return replace(turned, shift=shift + scale)
        return replace(turned, shift=shift, offset=-self.offset, low=-self.high, high=-self.low)

    def ranked(self, z: torch.Tensor) -> torch.Tensor:
        """What images are ranked by: what goes in, or its negative where the layer falls with it."""
        return z if self.sign > 0 else -z

    def output(self, z: torch.Tensor) -> torch.Tensor:
        """What the layer gives."""
        z = self.ranked(z)
        if self._smooth:
            return self._scaled(self._smooth.apply(z))
        if self.function == "hardsigmoid":
            return self._scaled(F.hardsigmoid(z))  # rounded as torch rounds it
        return self._scaled(self._straight(z).clamp(self.low, self.high))

    def lifted(self, z: torch.Tensor) -> torch.Tensor:
        """What the layer would give without its upper bound: the function up to where its slope begins to fall, and
        straight on from there."""
        z = self.ranked(z)
        if smooth := self._smooth:
            return self._scaled(torch.where(z > 0, smooth.value + smooth.slope * z, smooth.apply(z.clamp(max=0))))
        return self._scaled(self._straight(z).clamp(min=self.low))

    @property
    def fires_above(self) -> float:
        """The highest u for which the layer gives nothing above zero; -inf where it always does."""
        y, smooth = -self.shift / self.scale, self._smooth
        low, high = (smooth.low, smooth.high) if smooth else (self.low, self.high)
        if y < low or (y == low and smooth):
            return -inf
        if y >= high:
            return inf
        return smooth.inverse(y) if smooth else (y - self.offset) / self.gain

    @property
    def highest(self) -> float:
        """What the layer gives at most."""
        return self.scale * (self._smooth or self).high + self.shift

    def _straight(self, z: torch.Tensor) -> torch.Tensor:
        return z if (self.gain, self.offset) == (1, 0) else z * self.gain + self.offset

    def _scaled(self, y: torch.Tensor) -> torch.Tensor:
        return y if (self.scale, self.shift) == (1, 0) else y * self.scale + self.shift


def _limits(function: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[float, float] | None:
    """(low, high) of a clamp; None where there are none, or no numbers."""
    if function == "hardtanh":
        low, high = _given(arguments, named, ("min_val", "max_val"), (-1.0, 1.0))
    elif function == "clamp":
        low, high = _given(arguments, named, ("min", "max"), (None, None))
    elif function == "clamp_max":
        low, (high,) = None, _given(arguments, named, ("max",), (None,))
    else:
        return None
    low, high = -inf if low is None else low, inf if high is None else high
    numbers = all(isinstance(limit, int | float) for limit in (low, high))
    return (float(low), float(high)) if numbers else None


def _given(
    arguments: tuple[Any, ...], named: Mapping[str, Any], names: tuple[str, ...], otherwise: tuple[Any, ...]
) -> list[Any]:
    """Arguments by their places, their names, or what stands in."""
    return [
        arguments[place] if place < len(arguments) else named.get(name, otherwise[place])
        for place, name in enumerate(names)
    ]
