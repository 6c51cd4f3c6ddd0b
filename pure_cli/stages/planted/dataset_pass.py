"""The pass of calibrate over all images: what units are made from, and what their references are found in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.data.listing import Listing
from pure_cli.data.loader import Batch, batches
from pure_cli.scratch import Scratch
from pure_cli.settings.shared import Running
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.begun import Begun
from pure_cli.stages.runtime.images import first_image, images_at_once, named_images
from pure_cli.stages.runtime.network import Network, workers_of

if TYPE_CHECKING:
    import torch

    from pure_cli.core.stem import Stem

READ, MEAN, MAP, STEM = "read", "mean", "map", "stem"  # arrays on the disk, a row for each image of the listing
MOST_KEPT = 2 * 2**30  # bytes of maps on the disk; where they are more, images pass the network again
FREE = 2  # times the maps' size that the disk has room for, at least


@dataclass(frozen=True)
class KeptMaps:
    """What the highest module before all units gives for each image, as it is, on the disk.

    Attributes
    ----------
    image : (N,) int64, ascending, data-set indices of the rows
    shape : of one image's, its channels first
    module : whose output it is
    rectified : the module that is the ReLU of it; None where there is none
    """

    scratch: Scratch
    image: np.ndarray
    shape: tuple[int, ...]
    module: str
    rectified: str | None

    def read(self, index: np.ndarray) -> torch.Tensor:
        """(B, C, …) float32, of images by their data-set indices."""
        return _rows_of(self.scratch, MAP, self.image, index).reshape(len(index), *self.shape)

    def of_modules(self, kept: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs of both modules, from what `read` gives."""
        found = {self.module: kept}
        return found if self.rectified is None else {**found, self.rectified: kept.clamp(min=0)}


@dataclass(frozen=True)
class UnitPass:
    """What one pass over the images saw.

    Attributes
    ----------
    image : (N,) int64, those that can be read
    mean : (N, C) float32, activations of the layer over space
    highest : module to (N, C) float32, maxima over space
    maps : None where they are too large to be kept
    begun : the network, and what comes before all lower layers for each image; None where that is too large, or passes
        cannot begin there
    scratch : where all this lies until it is dropped
    """

    image: np.ndarray
    mean: np.ndarray
    highest: dict[str, np.ndarray]
    maps: KeptMaps | None
    begun: Begun | None
    scratch: Scratch


def pass_over_images(
    network: Network,
    listing: Listing,
    module: str,
    before: str | None,
    lower_layers: Sequence[str],
    how: Running,
    progress: Callable[[int], None],
    folder: Path,
    key: str,
) -> UnitPass:
    """Run all images through the network up to the layer, from where a killed process left the same.

    Parameters
    ----------
    before : what goes into the ReLU that the layer ends with; None where there is none
    lower_layers : that later passes attribute to
    progress : called with how many more images are done
    folder : for what is found
    key : text that says what it is found of
    """
    modules = [name for name in (before, module) if name]
    first = first_image(listing, network)
    ready = network.ready(first, [*modules, *lower_layers])
    shapes = _shapes(ready, first, modules)
    size, kept = images_at_once(listing, network, how.batch_size), shapes[modules[0]]
    arrays = {READ: ((len(listing), 1), "uint8"), MEAN: ((len(listing), shapes[module][0]), "float32")}
    arrays |= {_highest(i): ((len(listing), shapes[name][0]), "float32") for i, name in enumerate(modules)}
    is_kept = _fits(len(listing) * int(np.prod(kept)) * 4, folder)
    if is_kept:
        arrays[MAP] = ((len(listing), int(np.prod(kept))), "float32")
    stem = ready.stem(first, lower_layers, module) if lower_layers else None
    if stem and not _fits(len(listing) * (stem.width + int(np.prod(kept))) * 4, folder):
        stem = None
    if stem:
        arrays[STEM] = ((len(listing), stem.width), "float32")
    scratch = Scratch(folder, f"{key} {size} {network.device.type} {is_kept} {stem}", arrays)
    progress(min(scratch.done * size, len(listing)))
    with ExitStack() as when_it_fails:
        when_it_fails.enter_context(scratch)
        loaded = batches(listing, listing.index, network.preprocessing, size, workers_of(how), scratch.done)
        _fill(scratch, loaded, ready, listing, modules, stem, lambda: progress(size))
        when_it_fails.pop_all()  # what reads the maps needs it
    whole = {name: scratch.rows(name, 0, len(listing)) for name in arrays if name not in (MAP, STEM)}
    seen = whole[READ][:, 0] > 0
    maps = KeptMaps(scratch, listing.index, kept, modules[0], module if before else None) if is_kept else None
    highest = {name: whole[_highest(i)][seen] for i, name in enumerate(modules)}
    begun = Begun(ready, stem, partial(_rows_of, scratch, STEM, listing.index)) if stem else None
    return UnitPass(listing.index[seen], whole[MEAN][seen], highest, maps, begun, scratch)


def _fill(
    scratch: Scratch,
    loaded: Iterable[Batch],
    ready: Network,
    listing: Listing,
    modules: list[str],
    stem: Stem | None,
    progress: Callable[[], None],
) -> None:
    """Write what the network gives for batches of images, each of which is a step."""
    adaptive_batches = AdaptiveBatches()
    for batch in loaded:

        def compute(begin: int, end: int, batch: Batch = batch) -> None:
            rows = np.searchsorted(listing.index, batch.index[begin:end])
            with named_images(listing, batch.index[begin:end]):
                for name, values in _seen(ready, batch.images[begin:end], modules, MAP in scratch.arrays, stem).items():
                    scratch.write(name, rows, values)
            scratch.write(READ, rows, np.ones((len(rows), 1), np.uint8))

        adaptive_batches.each(len(batch.index), compute)
        scratch.finish_step()
        progress()


def _highest(place: int) -> str:
    """The array of maxima of one of the modules."""
    return f"highest-{place}"


def _shapes(ready: Network, example: torch.Tensor, modules: list[str]) -> dict[str, tuple[int, ...]]:
    """Of the modules' outputs for one image, their channels first."""
    from pure_cli.core.circuits import activations

    found = activations(ready.model, ready.inputs(example), modules)
    return {name: tuple(output.shape[1:]) for name, output in found.items()}


def _rows_of(scratch: Scratch, name: str, image: np.ndarray, index: np.ndarray) -> torch.Tensor:
    """(B, W) of an array, of some of the images (N,) that its rows are of."""
    import torch

    return torch.from_numpy(scratch.rows_at(name, np.searchsorted(image, index)))


def _fits(size: int, folder: Path) -> bool:
    """Whether the disk has room for the maps, or has them already."""
    folder.mkdir(parents=True, exist_ok=True)
    return size <= MOST_KEPT and ((folder / MAP).exists() or shutil.disk_usage(folder).free >= FREE * size)


def _seen(
    ready: Network, images: torch.Tensor, modules: list[str], is_kept: bool, stem: Stem | None
) -> Mapping[str, np.ndarray]:
    """Rows of the arrays: of each module its maxima, of the last its means, of the first, where they are kept, maps;
    and what comes before the lower layers."""
    from pure_cli.core.circuits import activations
    from pure_cli.core.hooks import hooked
    from pure_cli.core.layout import channels_first

    found: dict[str, np.ndarray] = {}
    before: dict[str, torch.Tensor] = {}

    def read(name: str, activation: torch.Tensor) -> None:
        flat = channels_first(activation).float()
        found[_highest(modules.index(name))] = flat.amax(dim=-1).cpu().numpy()
        if name == modules[-1]:
            found[MEAN] = flat.mean(dim=-1).cpu().numpy()
        if name == modules[0] and is_kept:
            found[MAP] = flat.flatten(1).cpu().numpy()

    with hooked(ready.model, stem.hooks(before) if stem else {}):
        activations(ready.model, ready.inputs(images), modules, read)
    if stem:
        found[STEM] = stem.rows(before).cpu().numpy()
    return found


def outputs_of_images(
    seen: UnitPass, network: Network, listing: Listing, index: np.ndarray, modules: list[str], how: Running
) -> Iterator[tuple[np.ndarray, Mapping[str, torch.Tensor]]]:
    """What modules give for some images: from the maps, or by passing them again.

    Parameters
    ----------
    index : (M,) int64, ascending data-set indices

    Yields
    ------
    (B,) int64, and module to (B, C, …) on the network's device
    """
    from pure_cli.core.circuits import activations

    size = images_at_once(listing, network, how.batch_size)
    if seen.maps is not None:
        for start in range(0, len(index), size):
            part = index[start : start + size]
            yield part, seen.maps.of_modules(seen.maps.read(part).to(network.device))
        return
    adaptive_batches = AdaptiveBatches()
    for batch in batches(listing, index, network.preprocessing, size, workers_of(how)):
        parts: list[tuple[np.ndarray, Mapping[str, torch.Tensor]]] = []

        def compute(begin: int, end: int, batch: Batch = batch, parts: list[Any] = parts) -> None:
            pixels = network.inputs(batch.images[begin:end])
            parts.append((batch.index[begin:end], activations(network.model, pixels, modules)))

        adaptive_batches.each(len(batch.index), compute)
        yield from parts


def halves(seen: UnitPass, labels: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each half: rows of `seen` to make units of, and rows to find references among; every class is halved."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(seen.image))
    order = order[np.argsort(labels[seen.image[order]], kind="stable")]
    one, other = np.sort(order[::2]), np.sort(order[1::2])
    return [(one, other), (other, one)]
