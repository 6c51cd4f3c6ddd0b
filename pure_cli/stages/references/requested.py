"""Which layers and neurons a run of collect is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pure_cli.artifacts import Collected
from pure_cli.config import fingerprint, preset_lower_layers
from pure_cli.core.directions import AT, Directions, module_of
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.models.spec import ModelSpec
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import Network


@dataclass(frozen=True)
class RequestedDirections:
    """The directions that a run is about.

    Attributes
    ----------
    name : of those that a file gave, "" where there is none
    given : those, and where none was named their layer is the default one
    of : directions by the name of their layer
    """

    name: str = ""
    given: Directions | None = None
    of: dict[str, Directions] = field(default_factory=dict)

    def layer(self, module: str) -> str:
        """The name of the layer whose neurons are the directions in a module; the module where there are none."""
        if self.given is None or AT in module:
            return module
        name = f"{self.name}{AT}{module}"
        self.of[name] = self.given
        return name

    def settings(self, layer: str) -> dict[str, str]:
        """What references depend on, for the neurons of a layer."""
        own = self.of.get(layer)
        if own is None:
            return {}
        values = [own.weight.tolist(), own.bias.tolist(), own.relu, list(own.names)]
        return {"directions": fingerprint(values)}


def named_directions(settings: CollectSettings, asked: list[str], before: Collected | None) -> RequestedDirections:
    """The directions of a file, or those that the workspace has where a layer of them is asked for.

    Raises
    ------
    PureError
        They cannot be read, are for several layers, or are not there.
    """
    if settings.directions is not None:
        from pure_cli.models.directions import read_directions, set_name

        if len(asked) > 1 and settings.layer:
            raise PureError("--directions lie in one layer. Name it with --layer, once.")
        if any(AT in name for name in asked):
            raise PureError(f"'{asked[0]}' is a layer of directions already. Name a layer of the model.")
        file, part = settings.directions, settings.directions_part
        return RequestedDirections(set_name(file, part), read_directions(file, settings.directions_relu, part))
    for option in ("directions_relu", "directions_part"):
        if getattr(settings, option):
            raise PureError(f"--{option.replace('_', '-')} needs --directions FILE.")
    own = {}
    for name in asked:
        there = before.layers.get(name) if before and AT in name else None
        if AT in name and (there is None or there.directions is None):
            raise PureError(
                f"There are no directions '{name}' in this workspace. Pass their file with --directions, and --layer "
                f"{module_of(name)}."
            )
        if there is not None and there.directions is not None:
            own[name] = there.directions
    return RequestedDirections(of=own)


def resolve_layers(
    network: Network,
    listing: Listing,
    spec: ModelSpec,
    asked: list[str],
    named: RequestedDirections,
    axes: Mapping[str, str],
) -> tuple[dict[str, tuple[list[str], tuple[int, ...]]], str, list[str]]:
    """Layer to (its default lower layers, the shape of its neurons' activations), the layer that stands in when none is
    named, and what is not clear about them, in sentences.

    Parameters
    ----------
    axes : of the channels, as the user says; see `pure_cli.core.structure.say`
    """
    from pure_cli.core.structure import say
    from pure_cli.models.defaults import default_layers, lower_layer_of
    from pure_cli.models.layers import check_layer, list_layers, unclear

    image = network.inputs(first_image(listing, network))
    there = list_layers(network.model, image)
    try:
        default, default_lower = default_layers(network.model, image, there)
    except PureError:
        if not asked:
            raise
        default, default_lower = module_of(asked[0]), ""
    found = {}
    names = asked or [named.layer(default)]
    if axes:
        say(network.model, axes, map(module_of, names))
        there = list_layers(network.model, image)
        for name in filter(None, axes):
            check_layer(name, there, network.model)
    for name in names:
        module = module_of(name)
        layer = check_layer(module, there, network.model)
        lower = preset_lower_layers(str(spec), module)
        lower = lower or ([default_lower] if module == default and default_lower else [])
        neurons = layer.channels
        if name in named.of:
            directions = named.of[name]
            if directions.weight.shape[1] != neurons:
                turned = directions.weight.shape[0] == neurons
                raise PureError(
                    f"The directions have {directions.weight.shape[1]} numbers each, and '{module}' has {neurons} "
                    "channels. "
                    + ("Turn the table: it needs a row for each direction." if turned
                       else "Name the layer that they were made for with --layer.")
                )  # fmt: skip
            neurons = len(directions)
        found[name] = (lower or lower_layer_of(network.model, image, module, there), (neurons, *layer.extent))
    told = [*map(module_of, names), *(name for lowers, _ in found.values() for name in lowers)]
    return found, default, unclear(there, told)
