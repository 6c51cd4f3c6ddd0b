"""What the axes of activations are: followed from the images through one pass over a network.

A tensor that comes of the images has a role for each of its axes. Layers with weights tell which axis has the channels
(linear layers and layer norms work along the last, convolutions and batch norms along the second), of what they take
and of what they give; all other functions of torch move roles on as they move axes. So it does not matter how long an
axis is, nor whether the code calls modules or functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pure_cli.core.hooks import SAME
from pure_cli.core.layout import Patches

CHANNELS, ROWS, COLUMNS = "channels", "rows", "columns"
NO_GRID = "no grid"  # positions that were picked, put in another order, or are a part of a grid
ROLES = "_pure_roles"  # attribute of tensors


Role = str | Patches | None


@dataclass
class Roles:
    """The roles of a tensor's axes, the axis of images among them.

    Attributes
    ----------
    axes : a role each; None where it is not known
    made : the channels are of a layer with weights, and not the colours of the images
    torn : some layer worked along another axis than that of the channels, as the mixing of tokens does
    """

    axes: list[Role]
    made: bool = False
    torn: bool = False

    @property
    def channels(self) -> int | None:
        """The axis of the channels; None where there is no telling."""
        found = [i for i, role in enumerate(self.axes) if i and role == CHANNELS]
        return found[0] if len(found) == 1 else None


@dataclass
class Pass:
    """What a pass showed beside the roles.

    Attributes
    ----------
    grids : (rows, columns) of the maps that were laid out as tokens
    """

    grids: set[tuple[int, int]] = field(default_factory=set)


def roles_of(tensor: torch.Tensor) -> Roles:
    """The roles of a tensor's axes as far as they are known; what is found out about it later is filled in."""
    found = getattr(tensor, ROLES, None)
    if found is None or len(found.axes) != tensor.ndim:
        found = Roles([None] * tensor.ndim)
        if not isinstance(tensor, nn.Parameter):
            setattr(tensor, ROLES, found)
    return found


@contextmanager
def followed(images: torch.Tensor) -> Iterator[Pass]:
    """A context in which the roles of all that is computed from images (B, 3, H, W) are followed; see `roles_of`."""
    setattr(images, ROLES, Roles([None, CHANNELS, ROWS, COLUMNS]))
    seen = Pass()
    with _Followed(seen):
        yield seen


class _Followed(TorchFunctionMode):
    """Gives roles to what every function of torch returns."""

    def __init__(self, seen: Pass):
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = _Call(func, args, kwargs or {}, func(*args, **(kwargs or {})), self._seen)
        if call.outputs and call.inputs:
            _RULES.get(call.name, _alike)(call)
        return call.output


class _Call:
    """One call of a function of torch."""

    def __init__(self, func: Any, args: tuple, kwargs: dict[str, Any], output: Any, seen: Pass):
        name = getattr(func, "__name__", "")
        name = func.__self__.__name__ if name == "__get__" else name.strip("_")
        self.func, self.args, self.kwargs, self.output, self.seen = func, args, kwargs, output, seen
        self.name: str = SAME.get(name, name)
        self.inputs = list(_tensors((*args, *kwargs.values())))
        self.outputs = list(_tensors(output))

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def axis(self, place: int, default: int = -1) -> int:
        """The axis that an argument names, of the first input."""
        axis = self.argument(place, "dim", self.kwargs.get("axis", default))
        return (axis if isinstance(axis, int) else default) % max(self.inputs[0].ndim, 1)

    def give(self, axes: Sequence[Role], like: Roles | None = None, of: int = 0) -> Roles:
        """Set the roles of an output."""
        roles = Roles(list(axes), bool(like and like.made), bool(like and like.torn))
        if len(axes) == self.outputs[of].ndim:
            setattr(self.outputs[of], ROLES, roles)
        return roles


def _tensors(content: Any) -> Iterator[torch.Tensor]:
    if isinstance(content, torch.Tensor):
        yield content
    elif isinstance(content, list | tuple):
        for part in content:
            yield from _tensors(part)


# --- layers with weights -------------------------------------------------------------------------------------------


def _worked_along(tensor: torch.Tensor, axis: int) -> Roles:
    """The roles of what a layer took, after it worked along an axis of it."""
    roles = roles_of(tensor)
    if roles.made and roles.channels not in (None, axis):
        return Roles(list(roles.axes), True, True)  # tokens are mixed, channel by channel
    roles.axes[:] = [CHANNELS if i == axis else None if role == CHANNELS else role for i, role in enumerate(roles.axes)]
    roles.made, roles.torn = True, False
    return roles


def _along(axis: int) -> Callable[[_Call], None]:
    """A layer that works along an axis, and keeps the others."""

    def rule(call: _Call) -> None:
        taken, result = call.inputs[0], call.outputs[0]
        if taken.ndim <= abs(axis) - (axis < 0) or (call.name == "layer_norm" and len(call.argument(1, "x")) > 1):
            return _alike(call)
        roles = _worked_along(taken, axis % taken.ndim)
        axes = list(roles.axes)
        for i, size in enumerate(result.shape if result.ndim == taken.ndim else ()):
            changed = i != axis % taken.ndim and size != taken.shape[i]
            if (changed and axes[i] not in (ROWS, COLUMNS)) or (roles.torn and i == axis % taken.ndim):
                axes[i] = None
        if result.ndim == 4 and call.name.startswith("conv") and not roles.torn:
            axes[2:] = ROWS, COLUMNS
        call.give(axes, roles)
        return None

    return rule


def _embedding(call: _Call) -> None:
    call.give([None] * (call.outputs[0].ndim - 1) + [CHANNELS]).made = True


def _attention(call: _Call) -> None:
    """Queries, keys and values side by side."""
    query, value = call.inputs[0], call.inputs[2]
    if call.name == "multi_head_attention_forward":
        roles = _worked_along(query, query.ndim - 1)
        call.give(roles.axes, roles)
    else:
        call.give([*roles_of(query).axes[:-1], roles_of(value).axes[-1]], roles_of(value))


def _product(call: _Call) -> None:
    """Of matrices; one without a role that is no more than a matrix is a layer's weights."""
    left, right = call.inputs[-2:]
    if left.ndim < 2 or right.ndim < 2:
        return
    known = roles_of(left), roles_of(right)
    if right.ndim == 2 and not any(known[1].axes):
        roles = _worked_along(left, left.ndim - 1)
        call.give([*roles.axes[:-1], None if roles.torn else CHANNELS], roles)
        return
    lead = call.outputs[0].ndim - 2
    batch = [a or b for a, b in zip(_right(known[0].axes[:-2], lead), _right(known[1].axes[:-2], lead), strict=True)]
    row = CHANNELS if left.ndim == 2 and known[1].axes[-2] == CHANNELS else known[0].axes[-2]
    call.give([*batch, row, known[1].axes[-1]], known[1])


def _einsum(call: _Call) -> None:
    equation = call.args[0]
    if not isinstance(equation, str) or "." in equation or "->" not in equation:
        return
    taken, result = equation.replace(" ", "").split("->")
    role: dict[str, Role] = {}
    for letters, tensor in zip(taken.split(","), call.inputs, strict=False):
        for letter, own in zip(letters, roles_of(tensor).axes, strict=False):
            role[letter] = role.get(letter) or own
    made = any(roles_of(tensor).made for tensor in call.inputs)
    axes = [role.get(letter) for letter in result]
    weights = [x for x, tensor in zip(taken.split(","), call.inputs, strict=False) if isinstance(tensor, nn.Parameter)]
    if CHANNELS not in axes and weights:
        axes = [CHANNELS if letter in weights[-1] else own for letter, own in zip(result, axes, strict=True)]
        made = True
    call.give(axes).made = made


# --- what moves axes -------------------------------------------------------------------------------------------------


def _view(call: _Call) -> None:
    """What only moves, drops, adds or cuts axes: done to a stand-in whose strides tell them apart."""
    tensor, roles = call.inputs[0], roles_of(call.inputs[0])
    if call.name == "getitem" and any(not _basic(part) for part in _parts(call.args[1])):
        return _picked_by_index(call)
    strides = [2 * prod(size + 1 for size in tensor.shape[i + 1 :]) for i in range(tensor.ndim)]
    stand_in = torch.empty_strided(tuple(tensor.shape), strides, device="meta")
    method = call.func.__get__ if not callable(call.func) else call.func
    moved = method(stand_in, *call.args[1:], **call.kwargs)
    for place, (view, output) in enumerate(zip(_tensors(moved), call.outputs, strict=False)):
        start, starts = view.storage_offset(), []
        for stride in strides:
            starts.append(start // stride)
            start %= stride
        axes: list[Role] = []
        for size, stride in zip(view.shape, view.stride(), strict=True):
            source = next((i for i, own in enumerate(strides) if stride and own == stride), None)
            stepped = [i for i, own in enumerate(strides) if stride and stride % own == 0 and size > 1]
            if source is not None:
                axes.append(_cut(roles.axes[source], int(starts[source]), int(size), int(tensor.shape[source])))
            elif stepped and roles.axes[stepped[0]] in (ROWS, COLUMNS, CHANNELS):
                axes.append(roles.axes[stepped[0]])
            else:
                axes.append(None)
        if output.ndim == len(axes):
            call.give(axes, roles, place)
    return None


def _cut(role: Role, start: int, size: int, whole: int) -> Role:
    """The role of an axis of which a part is left."""
    if size == whole or not isinstance(role, Patches):
        return role
    if start + size <= role.first or start >= role.first + role.rows * role.columns:
        return None  # those beside the grid
    first = role.first - start
    return role._replace(first=first) if first >= 0 and size >= first + role.rows * role.columns else NO_GRID


def _parts(index: Any) -> tuple:
    return index if isinstance(index, tuple) else (index,)


def _basic(part: Any) -> bool:
    return part is None or part is Ellipsis or isinstance(part, int | slice)


def _picked_by_index(call: _Call) -> None:
    """A list of indices along one axis; what is more is given up."""
    parts, roles = _parts(call.args[1]), roles_of(call.inputs[0])
    lists = [i for i, part in enumerate(parts) if not _basic(part)]
    plain = all(part == slice(None) for part in parts if _basic(part))
    flat = (
        isinstance(parts[lists[0]], torch.Tensor) and parts[lists[0]].ndim == 1 and not parts[lists[0]].dtype.is_complex
    )
    if len(lists) == 1 and plain and flat:
        call.give([_shuffled(r) if i == lists[0] else r for i, r in enumerate(roles.axes)], roles)


def _shuffled(role: Role) -> Role:
    return role if role == CHANNELS else NO_GRID


def _picked(call: _Call) -> None:
    """Positions that are chosen or put in another order along an axis."""
    source = call.inputs[0]
    place = {"topk": 2, "roll": 2}.get(call.name, 1)
    named = call.argument(place, "dim", call.kwargs.get("dims", call.kwargs.get("axis", -1)))
    axes = {axis % source.ndim for axis in ([named] if isinstance(named, int) else named or ())}
    kept = call.name in ("roll", "flip")  # a map stays one
    for place in range(len(call.outputs)):
        roles = roles_of(source)
        call.give(
            [
                r if i not in axes or (kept and not isinstance(r, Patches)) else _shuffled(r)
                for i, r in enumerate(roles.axes)
            ],
            roles,
            place,
        )


def _reshaped(call: _Call) -> None:
    taken, result, roles = call.inputs[0], call.outputs[0], roles_of(call.inputs[0])
    axes: list[Role] = [None] * result.ndim
    for old, new in _groups(tuple(taken.shape), tuple(result.shape)):
        own = [roles.axes[i] for i in old]
        if len(old) == len(new) == 1:
            axes[new[0]] = own[0]
        elif len(new) == 1:
            axes[new[0]] = _merged(own, [taken.shape[i] for i in old], call.seen)
        elif len(old) == 1:
            split = _split(own[0], [result.shape[i] for i in new])
            for i, role in zip(new, split, strict=True):
                axes[i] = role
    call.give(axes, roles)


def _merged(roles: Sequence[Role], sizes: Sequence[int], seen: Pass) -> Role:
    if list(roles) == [ROWS, COLUMNS]:
        seen.grids.add((sizes[0], sizes[1]))
        return Patches(sizes[0], sizes[1])
    if CHANNELS in roles and all(role in (CHANNELS, None) for role in roles):
        return CHANNELS  # heads, groups, or the pixels of a patch
    return NO_GRID if NO_GRID in roles else None


def _split(role: Role, sizes: Sequence[int]) -> list[Role]:
    if isinstance(role, Patches) and not role.first and list(sizes) == [role.rows, role.columns]:
        return [ROWS, COLUMNS]
    if role == CHANNELS:
        return [CHANNELS] * len(sizes)
    return [role if role in (ROWS, COLUMNS) else None, *[None] * (len(sizes) - 1)]


def _groups(old: tuple[int, ...], new: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """Which axes become which when a tensor is given another shape; axes of length 1 are left out where they can be."""
    i = j = 0
    while i < len(old) and j < len(new):
        first, second = [i], [j]
        left, right = old[i], new[j]
        while left != right:
            if left < right and i + 1 < len(old):
                i += 1
                first.append(i)
                left *= old[i]
            elif j + 1 < len(new):
                j += 1
                second.append(j)
                right *= new[j]
            else:
                return
        yield [a for a in first if old[a] > 1] or first[:1], [b for b in second if new[b] > 1] or second[:1]
        i, j = i + 1, j + 1


def _joined(call: _Call) -> None:
    """Tensors one behind the other along an axis."""
    axis, parts = call.axis(1, 0), [roles_of(tensor) for tensor in call.inputs]
    if any(len(part.axes) != call.outputs[0].ndim for part in parts):
        return
    axes = [next((part.axes[i] for part in parts if part.axes[i]), None) for i in range(len(parts[0].axes))]
    own = [part.axes[axis] for part in parts]
    grids = [i for i, role in enumerate(own) if isinstance(role, Patches)]
    if len(grids) == 1 and NO_GRID not in own:
        before = sum(tensor.shape[axis] for tensor in call.inputs[: grids[0]])
        role = own[grids[0]]
        axes[axis] = role._replace(first=role.first + before) if isinstance(role, Patches) else None
    elif grids or NO_GRID in own:
        axes[axis] = NO_GRID
    call.give(axes, next((part for part in parts if part.channels is not None), None))


def _stacked(call: _Call) -> None:
    axes = list(roles_of(call.inputs[0]).axes)
    place = call.argument(1, "dim", 0) % call.outputs[0].ndim
    call.give([*axes[:place], None, *axes[place:]], roles_of(call.inputs[0]))


# --- all the rest ----------------------------------------------------------------------------------------------------


def _alike(call: _Call) -> None:
    """Functions of each number by itself, sums and products of tensors, pooling, means over axes."""
    for place, output in enumerate(call.outputs):
        same = [tensor for tensor in call.inputs if tensor is not output or place == 0]
        known = [(tensor, roles_of(tensor)) for tensor in same if any(getattr(tensor, ROLES, Roles([])).axes)]
        if not known:
            first = call.inputs[0]
            if first.shape == output.shape and first is not output:
                setattr(output, ROLES, roles_of(first))  # what is found out about one holds for the other
            continue
        tensor, roles = known[0]
        if output.ndim < tensor.ndim:
            _reduced(call, place)
            continue
        axes = [_agreed(i, output, known) for i in range(output.ndim)]
        sure = [own for _, own in known if own.channels is not None]
        if tensor.shape == output.shape and axes == roles.axes and len(known) == 1:
            setattr(output, ROLES, roles)
            continue
        merged = call.give(axes, sure[0] if sure else None, place)
        merged.made = any(own.made for own in sure)
        merged.torn = all(own.torn for own in sure) if sure else False
        for other in call.inputs:
            own = roles_of(other)
            if own.channels is None and other.shape == output.shape and merged.channels is not None:
                own.axes[merged.channels], own.made = CHANNELS, merged.made


def _agreed(i: int, output: torch.Tensor, known: Sequence[tuple[torch.Tensor, Roles]]) -> Role:
    """The role of an axis of what several tensors, aligned at their last axes, were made into."""
    found: list[Role] = []
    for tensor, roles in known:
        own = i - (output.ndim - tensor.ndim)
        if own < 0:
            continue
        role, same = roles.axes[own], tensor.shape[own] == output.shape[i]
        if role and (same or role in (ROWS, COLUMNS)) and (tensor.shape[own] > 1 or output.shape[i] == 1):
            found.append(role)
    return NO_GRID if NO_GRID in found else found[0] if found else None


def _reduced(call: _Call, place: int) -> None:
    tensor, roles = call.inputs[0], roles_of(call.inputs[0])
    named = call.argument(1, "dim", call.kwargs.get("axis"))
    gone = [named] if isinstance(named, int) else named if isinstance(named, list | tuple) else []
    dropped = {axis % tensor.ndim for axis in gone if isinstance(axis, int)}
    axes = [role for i, role in enumerate(roles.axes) if i not in dropped]
    if len(axes) == call.outputs[place].ndim:
        call.give(axes, roles, place)


def _right(axes: Sequence[Role], count: int) -> list[Role]:
    """Aligned at the last of `count` axes."""
    return [None] * (count - len(axes)) + list(axes)


def _kept(call: _Call) -> None:
    """The axes stay what they are, whatever becomes of their lengths."""
    if call.outputs[0].ndim == call.inputs[0].ndim:
        call.give(roles_of(call.inputs[0]).axes, roles_of(call.inputs[0]))


_BY_NAME: dict[Callable[[_Call], None], str] = {
    _along(-1): "linear layer_norm rms_norm lstm gru rnn_tanh",
    _along(1): "conv1d conv2d conv3d conv_transpose1d conv_transpose2d batch_norm group_norm instance_norm "
    "local_response_norm",
    _embedding: "embedding",
    _attention: "multi_head_attention_forward scaled_dot_product_attention",
    _product: "matmul rmatmul bmm mm addmm baddbmm",
    _einsum: "einsum",
    _view: "permute transpose swapaxes swapdims movedim moveaxis t T mT H mH adjoint select narrow unsqueeze squeeze "
    "unbind chunk split tensor_split split_with_sizes getitem expand expand_as broadcast_to unfold",
    _picked: "gather take_along_dim index_select topk sort argsort roll flip",
    _reshaped: "reshape view flatten unflatten view_as reshape_as",
    _joined: "cat concat concatenate",
    _stacked: "stack",
    _kept: "pixel_shuffle pixel_unshuffle channel_shuffle",
}  # fmt: skip
_RULES = {name: rule for rule, names in _BY_NAME.items() for name in names.split()}
