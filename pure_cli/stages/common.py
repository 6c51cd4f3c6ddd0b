"""What the stages share: progress, what they report, the images and the network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pure_cli.artifacts import Collected
from pure_cli.config import Running
from pure_cli.core.directions import CHANNELS, Channels, Directions, module_of
from pure_cli.core.memory import keep_memory
from pure_cli.data.listing import Listing, list_images
from pure_cli.errors import PureError, UnreadableFile
from pure_cli.models.spec import NO_WEIGHTS, parse_model
from pure_cli.models.trust import require_trusted
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.core.saturation import Bound

PIXELS_PER_BATCH = {"cpu": 16 * 224 * 224, "cuda": 256 * 224 * 224, "mps": 64 * 224 * 224}
DATA_CACHE = "data-index"  # folder in the workspace; may be deleted at any time
OTHERS = 8  # of the last images that are looked at, for one that differs from the first
MOST_PER_BATCH = {"cpu": 128, "cuda": 1024, "mps": 256}

Key = TypeVar("Key")
Value = TypeVar("Value")
Progress = Callable[[int, int], None]
"""Called with (done, total) as a stage goes on."""


def silent(done: int, total: int) -> None:
    """No progress shown."""


@dataclass
class Outcome:
    """What a stage did.

    Attributes
    ----------
    stage : its name
    layers : it worked on or found up to date
    computed : things computed anew (images for collect, neurons otherwise); 0 where all was up to date
    unit : what is counted
    notes : sentences that the user should read
    seconds : it took
    details : more figures, JSON-like
    """

    stage: str
    layers: list[str]
    computed: int
    unit: str
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def up_to_date(self) -> bool:
        return self.computed == 0


def place_of(path: Path | None) -> str | None:
    """Where a file or folder is, for stages that run elsewhere; the word none is no file."""
    return None if path is None else str(path) if str(path) == NO_WEIGHTS else str(path.expanduser().absolute())


def images_of(store: Store, data: str | Path, limit: int | None = None) -> Listing:
    """The images that ``--data`` names; what takes long to find out about them is kept in the workspace.

    Raises
    ------
    PureError
        They cannot be listed.
    """
    waiting_for("listing the images")
    return list_images(data, limit, store.root / DATA_CACHE)


def earlier(read: Callable[[Store], dict[Key, Value]], store: Store, anew: bool) -> dict[Key, Value]:
    """What an earlier run of a stage left; nothing where that cannot be read and is to be made anew."""
    try:
        return read(store)
    except UnreadableFile:
        if not anew:
            raise
        return {}


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

    def ready(self, example: torch.Tensor, keep: Collection[str], precision: str = "float32") -> Network:
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

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) uint8 as the model takes them."""

        pixels = self.preprocessing.normalize(images.to(self.device))
        return pixels.to(self.precision, memory_format=self.layout) if self.precision else pixels

    def batch_size(self, asked: int | None, height: int, width: int, share: int = 1) -> int:
        """The one asked for, or one that suits the device and the size of the images.

        Parameters
        ----------
        share : how much more an image takes than in a plain forward pass
        """
        kind = self.device.type
        usual = min(MOST_PER_BATCH[kind], PIXELS_PER_BATCH[kind] // (height * width))
        return asked or max(1, usual // share)


def workers_of(how: Running) -> int:
    """Processes that decode images."""
    from pure_cli.data.loader import default_workers

    return default_workers() if how.workers is None else how.workers


def open_network(collected: Collected, device: str, deterministic: bool = True) -> Network:
    """The network that made the references.

    Raises
    ------
    PureError
        Building it again gives other weights, or runs a file that the user did not name.
    """
    waiting_for("loading the network")
    from pure_cli.core.structure import say
    from pure_cli.models.load import device_of, load_model, remembered_preprocessing
    from pure_cli.models.weights import state_fingerprint

    origin = collected.origin
    spec = parse_model(origin["model"])
    require_trusted(spec)
    preprocessing = remembered_preprocessing(spec, origin["preprocessing"])
    model = load_model(spec, origin["weights"], origin["seed"], preprocessing.crop_size)
    if state_fingerprint(model) != origin["state"]:
        raise PureError(
            f"{origin['model']} has other weights now than when the references were collected. "
            "Save its weights, pass them with --weights, and run `pure collect` again."
        )
    say(model, origin.get("channels_axis", {}), map(module_of, collected.layers))
    target = device_of(device, deterministic)
    directions = {name: layer.directions for name, layer in collected.layers.items() if layer.directions}
    return Network(model.to(target), target, preprocessing, directions=directions)


def images_at_once(listing: Listing, network: Network, asked: int | None, share: int = 1) -> int:
    """Images at once: as asked, or what suits the device and their size; `share` as of `Network.batch_size`."""
    height, width = first_image(listing, network).shape[-2:]
    return network.batch_size(asked, height, width, share)


def first_image(listing: Listing, network: Network) -> torch.Tensor:
    """The first image that can be read, as (1, 3, H, W) uint8.

    Raises
    ------
    PureError
        No image can be read.
    """
    import torch

    from pure_cli.data.decode import DamagedImage
    from pure_cli.data.loader import decode_one

    reason = ""
    for index in map(int, listing.index):
        try:
            return torch.from_numpy(decode_one(listing, index, network.preprocessing))[None]
        except DamagedImage as error:
            reason = reason or f"{listing.paths[index]}: {error.reason}"
    raise PureError(f"None of the {len(listing)} images in {listing.data} can be read ({reason}).")


@contextmanager
def named_images(listing: Listing, index: np.ndarray) -> Iterator[None]:
    """A context in which an image of a batch that does not get to a layer is told by its name.

    Parameters
    ----------
    index : (B,) data-set indices of the batch
    """
    from pure_cli.core.forward import NotReached

    try:
        yield
    except NotReached as error:
        if error.row is None:
            raise
        raise error.of(listing.place(int(index[error.row]))) from None


def another_image(listing: Listing, network: Network, one: torch.Tensor) -> tuple[int, torch.Tensor] | None:
    """One of the last images and its data-set index, if one of the size of `one` differs from it."""
    import torch

    from pure_cli.data.decode import DamagedImage
    from pure_cli.data.loader import decode_one

    for index in map(int, listing.index[::-1][:OTHERS]):
        with suppress(DamagedImage):
            other = torch.from_numpy(decode_one(listing, index, network.preprocessing))[None]
            if other.shape == one.shape and not torch.equal(other, one):
                return index, other
    return None


def require_sound(network: Network, listing: Listing, layers: Iterable[str]) -> list[str]:
    """Make sure, once for each layer, that what it gives is a function of one image, and that its inputs are plausible.

    Returns
    -------
    list of str
        What the user should know.

    Raises
    ------
    PureError
        The network draws at random, or lets the images of a batch see each other.
    """
    from pure_cli.core.forward import NotReached
    from pure_cli.models.inputs_check import odd_inputs
    from pure_cli.models.one_image import require_one_image

    names = [name for name in dict.fromkeys(map(module_of, layers)) if name not in network.checked]
    if not names:
        return []
    waiting_for("checking the network on two images")
    one = first_image(listing, network)
    index, other = another_image(listing, network, one) or (None, one.flip(-1))
    notes = [] if network.checked else list(odd_inputs(network.preprocessing, [one, other]))
    told = None
    try:
        told = require_one_image(network.model, network.inputs(one), network.inputs(other), names)
    except NotReached as error:
        if index is not None:  # else it is no image of the user's that does not get there
            raise (error.of(listing.place(index)) if error.row else error) from None
    network.checked.update(names)
    return [*notes, told] if told else notes
