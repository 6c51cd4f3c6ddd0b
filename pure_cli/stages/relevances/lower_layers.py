"""Lower layers: that neurons can be attributed to them, and which lie below which."""

from __future__ import annotations

from collections.abc import Sequence

from pure_cli.core.directions import module_of
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.stages.runtime.images import first_image
from pure_cli.stages.runtime.network import Network
from pure_cli.words import counted

DEPTH = 3  # lower layers of a chain, where no number is named and there are as many


def require_lower_layers(
    network: Network, layer: str, lower_layers: Sequence[str], listing: Listing, rule: str
) -> dict[str, int]:
    """Channels of every lower layer and of the layer's module, once it is clear that each leads to it.

    Raises
    ------
    PureError
        One does not, or the rule does not fit what lies below.
    """
    from pure_cli.models.ends import check_before
    from pure_cli.models.layers import check_layer, check_leads_to, check_rules, list_layers
    from pure_cli.models.rules import RULES

    example, module = first_image(listing, network), module_of(layer)
    image = network.inputs(example)
    layers = list_layers(network.model, image)
    if RULES[rule].hooks:
        check_rules(network.model, layers, module)
    widths = {name: check_layer(name, layers, network.model).channels for name in [*lower_layers, module]}
    check_leads_to(network.model, image, module, list(lower_layers))
    bound = network.bound_of(layer, example)
    if bound is not None:
        check_before(network.model, image, module, list(lower_layers), bound)
    return widths


def chain_below(
    network: Network, layer: str, first: str, depth: int | None, through: Sequence[str] | None, listing: Listing
) -> list[str]:
    """Lower layers of a layer, each below the one before.

    Parameters
    ----------
    first : the highest; those below it are found as `attribute` finds one for a layer
    depth : how many; None for `DEPTH`, or as many as there are
    through : these, in place of what would be found

    Raises
    ------
    PureError
        There are fewer, or one that was named does not lead to the one before.
    """
    from pure_cli.models.defaults import lower_layer_of
    from pure_cli.models.layers import check_layer, check_leads_to, list_layers

    image = network.inputs(first_image(listing, network))
    layers = list_layers(network.model, image)
    if through:
        for upper, name in zip([module_of(layer), *through], through, strict=False):
            check_layer(name, layers, network.model)
            check_leads_to(network.model, image, upper, [name])
        return list(through)
    found = [first]
    while len(found) < (depth or DEPTH) and (lower := lower_layer_of(network.model, image, found[-1], layers)):
        found += lower
    if depth and len(found) < depth:
        raise PureError(
            f"pure finds {counted(len(found), 'layer')} below '{layer}' ({', '.join(found)}), and --depth {depth} asks "
            "for more. Ask for fewer, or name them with --through."
        )
    return found
