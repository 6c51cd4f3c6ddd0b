"""The layers of a model, for the user to choose from."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from pure_cli.config import preset_lower_layers
from pure_cli.core.directions import module_of
from pure_cli.errors import PureError
from pure_cli.models.spec import NO_WEIGHTS, parse_model
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.references.inputs import open_model, requested_preprocessing
from pure_cli.waiting import waiting_for


def list_layers(settings: CollectSettings) -> dict[str, Any]:
    """Names, kinds and shapes of all layers that run, and the default ones; see `pure_cli.Workspace.list_layers`."""
    waiting_for("loading the network")
    import torch

    from pure_cli.core.structure import declare_channel_axes
    from pure_cli.models import layers as model_layers
    from pure_cli.models.defaults import default_layers, hidden_layer_of

    requested = requested_preprocessing(settings)
    settings = settings.model_copy(update={"weights": Path(NO_WEIGHTS), "device": "cpu"})  # layers need no download
    spec = parse_model(settings.model)
    network, _ = open_model(spec, settings, requested, settings.seed)
    for parameter in network.model.parameters():
        if not parameter.any():  # as the last norm of a block begins: nothing in it would lead anywhere
            parameter.data.fill_(1)
    declare_channel_axes(network.model, settings.channels, map(module_of, settings.layer or ()))
    size = network.preprocessing.crop_size or model_layers.own_size(network.model) or model_layers.PROBE_SIZE
    image = network.inputs(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    found = model_layers.list_layers(network.model, image)
    default = default_lower = None
    with suppress(PureError):
        default, default_lower = default_layers(network.model, image, found)
        if preset_lower_layers(str(spec), default) is None:
            default_lower = hidden_layer_of(network.model, image, default, found) or default_lower
    return {
        "layers": [
            {"name": x.name, "kind": x.kind, "shape": x.shape, "channels": x.channels, "calls": x.calls} for x in found
        ],
        "default": default,
        "default_lower": default_lower,
    }
