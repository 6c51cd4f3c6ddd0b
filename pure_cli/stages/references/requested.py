"""Which layers and neurons a run of collect is about."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pure_cli.artifacts import Collected
from pure_cli.config import fingerprint, preset_lower_layers
from pure_cli.core.directions import AT, Directions, module_of
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.models.spec import ModelSpec
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import Network

if TYPE_CHECKING:
    import torch

    from pure_cli.models.layers import Layer


@dataclass(frozen=True)
class RequestedDirections:
    """The directions that a run is about.

    Attributes
    ----------
    name : of those that a file gave, "" where there is none
    from_file : those, and where none was named their layer is the default one
    by_layer : directions by the name of their layer
    """

    name: str = ""
    from_file: Directions | None = None
    by_layer: dict[str, Directions] = field(default_factory=dict)

    def layer(self, module: str) -> str:
        """The name of the layer whose neurons are the directions in a module; the module where there are none."""
        if self.from_file is None or AT in module:
            return module
        name = f"{self.name}{AT}{module}"
        self.by_layer[name] = self.from_file
        return name

    def settings(self, layer: str) -> dict[str, str]:
        """What references depend on, for the neurons of a layer."""
        own = self.by_layer.get(layer)
        if own is None:
            return {}
        values = [own.weight.tolist(), own.bias.tolist(), own.relu, list(own.names)]
        return {"directions": fingerprint(values)}


def named_directions(
    settings: CollectSettings, requested: list[str], before: Collected | None, given: Mapping[str, Directions]
) -> RequestedDirections:
    """The directions of a file, or those that are given or that the workspace has where a layer of them is requested.

    Parameters
    ----------
    given : by layer

    Raises
    ------
    PureError
        They cannot be read, are for several layers, or are not there.
    """
    if settings.directions is not None:
        from pure_cli.models.directions import read_directions, set_name

        if len(requested) > 1 and settings.layer:
            raise PureError("--directions lie in one layer. Name it with --layer, once.")
        if any(AT in name for name in requested):
            raise PureError(f"'{requested[0]}' is a layer of directions already. Name a layer of the model.")
        file, part = settings.directions, settings.directions_part
        return RequestedDirections(set_name(file, part), read_directions(file, settings.directions_relu, part))
    for option in ("directions_relu", "directions_part"):
        if getattr(settings, option):
            raise PureError(f"--{option.replace('_', '-')} needs --directions FILE.")
    own = {name: given[name] for name in requested if name in given}
    for name in requested:
        if name in own:
            continue
        there = before.layers.get(name) if before and AT in name else None
        if AT in name and (there is None or there.directions is None):
            raise PureError(
                f"There are no directions '{name}' in this workspace. Pass their file with --directions, and --layer "
                f"{module_of(name)}."
            )
        if there is not None and there.directions is not None:
            own[name] = there.directions
    return RequestedDirections(by_layer=own)


@dataclass(frozen=True)
class ResolvedLayer:
    """A layer as it is in the network.

    Attributes
    ----------
    lower_layers : by the paper's recipe
    hidden, of_preset : as of `pure_cli.artifacts.references.CollectedLayer`
    shape : of its neurons' activations for one image, the neurons first
    """

    lower_layers: list[str]
    shape: tuple[int, ...]
    hidden: str = ""
    of_preset: bool = False


@dataclass(frozen=True)
class ResolvedLayers:
    """The layers that a run is about.

    Attributes
    ----------
    layers : by name
    default : the layer that stands in when none is named
    unclear : what is not clear about them, in sentences
    """

    layers: dict[str, ResolvedLayer]
    default: str
    unclear: list[str]


def resolve_layers(
    network: Network,
    listing: Listing,
    spec: ModelSpec,
    requested: list[str],
    directions: RequestedDirections,
    axes: Mapping[str, str],
) -> ResolvedLayers:
    """Find the requested layers in the network, or the default one where none is named.

    Parameters
    ----------
    axes : of the channels, as the user says; see `pure_cli.core.structure.declare_channel_axes`

    Raises
    ------
    PureError
        No such layer, one without channels, or directions that do not fit it.
    """
    from pure_cli.models.defaults import default_layers, hidden_layer_of, lower_layer_of
    from pure_cli.models.layers import check_layer, list_layers, unclear

    image = network.inputs(first_image(listing, network))
    there = list_layers(network.model, image)
    try:
        default, default_lower = default_layers(network.model, image, there)
    except PureError:
        if not requested:
            raise
        default, default_lower = module_of(requested[0]), ""
    names = requested or [directions.layer(default)]
    if axes:
        there = _with_axes(network, image, there, axes, names)
    found = {}
    for name in names:
        module = module_of(name)
        layer = check_layer(module, there, network.model)
        preset = preset_lower_layers(str(spec), module)
        lower = preset or ([default_lower] if module == default and default_lower else [])
        neurons = (
            _directions_in(module, layer, directions.by_layer[name]) if name in directions.by_layer else layer.channels
        )
        lower = lower or lower_layer_of(network.model, image, module, there)
        hidden = hidden_layer_of(network.model, image, module, there)
        found[name] = ResolvedLayer(lower, (neurons, *layer.extent), hidden, bool(preset))
    used = [*map(module_of, names), *(name for layer in found.values() for name in layer.lower_layers)]
    channels = [name for name in names if name not in directions.by_layer]
    return ResolvedLayers(found, default, [*unclear(there, used), *_basis_notes(network, image, there, channels)])


def _basis_notes(network: Network, image: "torch.Tensor", there: "list[Layer]", names: list[str]) -> Iterator[str]:
    """What to know of layers whose neurons are no more than other directions."""
    from pure_cli.models.basis import nearest_basis, without_basis

    for name in without_basis(network.model, image, names):
        other = nearest_basis(network.model, image, name, there)
        yield (
            f"The channels of '{name}' are no privileged basis: nothing acts on them one by one, so a neuron there may "
            "mean no more than any other direction does (see docs/models.md)."
            + (f" Those of '{other}' are one: pure collect --layer {other}." if other else "")
        )


def _with_axes(
    network: Network, image: "torch.Tensor", there: "list[Layer]", axes: Mapping[str, str], names: list[str]
) -> "list[Layer]":
    """The layers, once the network knows which axes have their channels."""
    from pure_cli.core.structure import declare_channel_axes
    from pure_cli.models.layers import check_layer, list_layers

    declare_channel_axes(network.model, axes, map(module_of, names))
    there = list_layers(network.model, image)
    for name in filter(None, axes):
        check_layer(name, there, network.model)
    return there


def _directions_in(module: str, layer: "Layer", directions: Directions) -> int:
    """How many directions there are, once it is clear that they lie in the space of the module's channels."""
    count, channels = directions.weight.shape
    if channels != layer.channels:
        advice = (
            "Turn the table: it needs a row for each direction."
            if count == layer.channels
            else "Name the layer that they were made for with --layer."
        )
        raise PureError(
            f"The directions have {channels} numbers each, and '{module}' has {layer.channels} channels. {advice}"
        )
    return len(directions)
