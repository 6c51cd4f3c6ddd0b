"""The network of a workspace on its device, as it is and as fast as it gets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pure_cli.artifacts import Collected
from pure_cli.core.directions import CHANNELS, Channels, Directions, module_of
from pure_cli.core.memory import free_memory, keep_memory
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.models.spec import parse_model
from pure_cli.models.trust import require_trusted
from pure_cli.settings.shared import FLOAT32, Decoding
from pure_cli.stages.runtime.arithmetic import open_devices
from pure_cli.waiting import waiting_for

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.core.saturation import Bound
    from pure_cli.core.stem import Stem

PIXEL_BYTES = 1024  # of activations in a forward pass, where a network takes much: VGG-16 has three maps of 64 channels
OF_FREE_MEMORY = 0.5
PIXELS_PER_BATCH = {"cpu": 16 * 224 * 224, "cuda": 256 * 224 * 224, "mps": 64 * 224 * 224}
MOST_PER_BATCH = {"cpu": 128, "cuda": 1024, "mps": 256}


@dataclass
class Network:
    """A loaded model on its device, with its preprocessing.

    Attributes
    ----------
    precision, layout : of its numbers and of images in memory, once it was made ready
    directions : by layer, what its neurons are where they are no channels
    bounds : by module, the bounded nonlinearity that it ends with, of those that were looked at
    checked : modules of which `require_sound` has made sure
    notes : sentences on the model that the user should read
    first : a listing and the first image of it, (1, 3, H, W) uint8, once it was decoded
    others : further devices that a pass may use
    """

    model: nn.Module
    device: torch.device
    preprocessing: Preprocessing
    precision: torch.dtype | None = None
    layout: torch.memory_format | None = None
    directions: Mapping[str, Directions] = field(default_factory=dict)
    bounds: dict[str, Bound | None] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    first: tuple[Listing, torch.Tensor] | None = None
    others: tuple[torch.device, ...] = ()

    def __post_init__(self) -> None:
        if self.device.type == "cpu":
            keep_memory()

    def neurons(self, layer: str) -> Channels:
        """What the neurons of a layer are."""
        return self.directions.get(layer, CHANNELS)

    def bound_of(self, layer: str, example: torch.Tensor) -> Bound | None:
        """The bounded nonlinearity that a layer ends with.

        Parameters
        ----------
        example : (1, 3, H, W) uint8
        """
        from pure_cli.models.ends import upper_bound

        module = module_of(layer)
        if module not in self.bounds:
            self.bounds[module] = upper_bound(self.model, self.inputs(example), module)
        return self.bounds[module]

    def ready(self, example: torch.Tensor, keep: Collection[str], precision: str = FLOAT32) -> Network:
        """A copy that is as fast as it gets: batch norm merged, channels last in memory, numbers of `precision`.

        For plain forward and backward passes; LRP rules want the network as it was.

        Parameters
        ----------
        example : (1, 3, H, W) uint8
        keep : names of the modules whose outputs are looked at
        precision : of torch's data types
        """
        import torch

        from pure_cli.core.structure import same_channels
        from pure_cli.models.fuse import fuse_batch_norm, gives_the_same
        from pure_cli.models.plain import copied

        precise, keep, image = getattr(torch, precision), list(keep), self.inputs(example)
        layouts = [torch.channels_last, torch.contiguous_format]  # a network's own code may mind the first
        for layout in layouts:
            model = copied(self.model)
            same_channels(model, self.model)
            fuse_batch_norm(model, image, keep)
            model.to(memory_format=layout)
            if layout is layouts[-1] or gives_the_same(model, self.model, image.to(memory_format=layout), keep):
                break
        return replace(self, model=model.to(precise), precision=precise, layout=layout)

    def stem(self, example: torch.Tensor, lower_layers: Collection[str], module: str) -> Stem | None:
        """What comes before lower layers of a module, by passes over an image (1, 3, H, W) uint8 and its mirror image;
        parameters and result as of `pure_cli.core.stem.stem_of`."""
        import torch

        from pure_cli.core.stem import stem_of

        images = self.inputs(torch.cat([example, example.flip(-1)]))
        return stem_of(self.model, images, list(dict.fromkeys(lower_layers)), module)

    def replicas(self) -> list[Network]:
        """This network, and a copy of it on each of the other devices."""
        from pure_cli.core.structure import same_channels
        from pure_cli.models.plain import copied

        found = [self]
        for device in self.others:
            model = copied(self.model).to(device)
            same_channels(model, self.model)
            found.append(replace(self, model=model, device=device, others=()))
        return found

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) uint8 as the model takes them."""
        pixels = self.preprocessing.normalize(images.to(self.device))
        return pixels.to(self.precision, memory_format=self.layout) if self.precision else pixels

    def batch_size(self, requested: int | None, height: int, width: int, share: int = 1) -> int:
        """The one requested, or one that suits the device, the memory that is free there, and the size of the images.

        Where memory is what limits it, a power of two: what little comes and goes of it changes nothing.

        Parameters
        ----------
        share : how much more an image takes than in a plain forward pass
        """
        memories = [memory for device in (self.device, *self.others) if (memory := free_memory(device)) is not None]
        free = min(memories, default=None)
        usual = self.usual_batch_size(height, width, share)
        if free is not None:
            fitting = int(free * OF_FREE_MEMORY) // (height * width * PIXEL_BYTES * share)
            usual = min(usual, 1 << max(0, fitting.bit_length() - 1))
        return requested or usual

    def usual_batch_size(self, height: int, width: int, share: int = 1) -> int:
        """The one that suits the device and the size of the images, whatever memory is free."""
        kind = self.device.type
        return max(1, min(MOST_PER_BATCH[kind], PIXELS_PER_BATCH[kind] // (height * width)) // share)


def workers_of(how: Decoding) -> int:
    """Processes that decode images."""
    from pure_cli.data.loader import default_workers

    return default_workers() if how.workers is None else how.workers


def open_network(collected: Collected, device: str) -> Network:
    """The network that made the references, on the first of the devices that are named.

    Raises
    ------
    PureError
        Building it again gives other weights, or runs a file that the user did not name.
    """
    waiting_for("loading the network")
    import torch

    from pure_cli.core.structure import declare_channel_axes
    from pure_cli.models.load import load_model, remembered_preprocessing
    from pure_cli.models.weights import state_fingerprint

    origin = collected.origin
    spec = parse_model(origin["model"])
    require_trusted(spec)
    preprocessing = remembered_preprocessing(spec, origin["preprocessing"])
    with torch.inference_mode(False):  # a caller's: parameters made in it take part in no backward pass
        model = load_model(spec, origin["weights"], origin["seed"], preprocessing.crop_size)
    if state_fingerprint(model) != origin["state"]:
        raise PureError(
            f"{origin['model']} has other weights now than when the references were collected. "
            "Save its weights, pass them with --weights, and run `pure collect` again."
        )
    declare_channel_axes(model, origin.get("channels_axis", {}), map(module_of, collected.layers))
    target, *others = open_devices(device, {name: layer.device for name, layer in collected.layers.items()})
    directions = {name: layer.directions for name, layer in collected.layers.items() if layer.directions}
    with torch.inference_mode(False):
        return Network(model.to(target), target, preprocessing, directions=directions, others=tuple(others))
