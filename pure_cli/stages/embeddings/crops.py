"""crops: what each neuron saw of each of its references, as a box in the image. Computed on the way by embed."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import NewRows, add_rows, read_rows, read_rows_index
from pure_cli.core.directions import module_of
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.settings.embed import EmbedSettings
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.resume.pair_work import PairWork, Plan
from pure_cli.stages.resume.row_parts import RowParts
from pure_cli.stages.resume.unfinished_work import Work
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once
from pure_cli.stages.runtime.network import Network
from pure_cli.stages.runtime.soundness import require_sound

if TYPE_CHECKING:
    import torch

RULES = "epsilon-plus-flat, attn-lrp"  # of the heatmaps: PURE's, and what stands in where it does not fit a network
CROPS = "crops"  # the file, and whose unfinished work it is
CRP, WHOLE = "crp", "none"  # crops: by relevance of the pixels, and the one that is no crop
BOX = "box"  # the data set of crops.h5: top, bottom, left, right, half-open; -1 where there is no image
HEATMAPS_SHARE = 4  # times the memory of a forward pass: the graph of the whole network, with the rules' copies


def boxes(sources: Sources, layer: str, crop: str, neurons: np.ndarray) -> Iterator[np.ndarray]:
    """Boxes (n, 4) of each of some neurons, once they are there.

    Parameters
    ----------
    crop : "crp" or "activation"
    """
    there = read_rows_index(sources.store, CROPS, BOX)[layer, crop]
    yield from read_rows(sources.store, CROPS, layer, crop, BOX, np.searchsorted(there.neuron, neurons))


def missing_boxes(sources: Sources, layer: str, crop: str, neurons: np.ndarray, settings: EmbedSettings) -> np.ndarray:
    """Those of some neurons that have no boxes yet, or stale ones."""
    there = read_rows_index(sources.store, CROPS, BOX).get((layer, crop))
    if there is None or there.provenance != _provenance(sources, layer, crop, settings):
        return neurons
    return np.setdiff1d(neurons, there.neuron)


@dataclass(frozen=True)
class CropJob:
    """Neurons of one layer that lack boxes of one kind.

    Attributes
    ----------
    crop : "crp", by relevance of the pixels, or "activation", by the neuron's own map
    """

    layer: str
    crop: str
    neurons: np.ndarray


@dataclass(frozen=True)
class CropTask:
    """A job with all that it takes.

    Attributes
    ----------
    plan : of the pairs of neuron and reference
    parts : what of it is done here
    batch_size : images at once
    """

    job: CropJob
    plan: Plan
    parts: RowParts
    batch_size: int

    @property
    def pairs_to_do(self) -> int:
        """Pairs that are computed here."""
        return self.plan.pairs_of_all(self.parts.ranges)

    def own_boxes(self) -> np.ndarray:
        """(N, n, 4) int, those that this part has found; -1 elsewhere."""
        found = np.full((len(self.job.neurons), self.plan.references, 4), -1)
        header = self.parts.header
        assert header is not None, "of a part"
        pairs = self.plan.pairs_in(*header.range) if header.stop > header.start else np.zeros(0, np.int64)
        found[self.plan.neuron_row[pairs], self.plan.slot[pairs]] = self.parts.left(BOX)
        return found


def crop_task(job: CropJob, sources: Sources, network: Network, settings: EmbedSettings, step: int = 1) -> CropTask:
    """What is to be done of a job here.

    Parameters
    ----------
    step : where parts begin, in images
    """
    listing = sources.listing([job.layer])
    plan = Plan.of(sources.collected.layers[job.layer].top.image[job.neurons])
    size = images_at_once(listing, network, settings.batch_size, heatmaps_share(job.crop))
    work = Work(CROPS, _provenance(sources, job.layer, job.crop, settings), {"batch_size": size}, job.neurons.tolist())
    where = len(plan.images), network.device.type, settings, step, 1 + plan.counts
    return CropTask(job, plan, RowParts.of(sources.store, work, *where), size)


def heatmaps_share(crop: str) -> int:
    """How much more memory an image takes than in a plain forward pass."""
    return HEATMAPS_SHARE if crop == CRP else 1


def compute_boxes(
    task: CropTask, sources: Sources, network: Network, settings: EmbedSettings, notes: list[str]
) -> Iterator[int]:
    """Find the boxes of some neurons and write them; yields the pairs of every finished batch.

    Parameters
    ----------
    notes : gets what the user should know of the heatmaps
    """
    job, plan = task.job, task.plan
    listing = sources.listing([job.layer])
    top = sources.collected.layers[job.layer].top
    work = PairWork(task.parts, plan, {BOX: ((plan.pairs, 4), "int16")}, task.batch_size, settings.force)
    adaptive_batches = AdaptiveBatches(notes)
    notes += require_sound(network, listing, [job.layer])
    with work, HeatmapReader(network, job.layer, job.crop, first_image(listing, network)) as heatmaps:
        notes += heatmaps.misfits()
        yield work.pairs_done
        for start, stop, images in work.batches(listing, network.preprocessing, settings.workers):

            def compute(begin: int, end: int, start: int = start, images: "torch.Tensor" = images) -> None:
                heatmaps.look_at(images[begin:end])
                rounds = list(plan.rounds(start + begin, start + end))
                for pairs in rounds:
                    channels = job.neurons[plan.neuron_row[pairs]]
                    positions = top.position[channels, plan.slot[pairs]]
                    _write_boxes(work, pairs, heatmaps.maps(channels, positions, last=pairs is rounds[-1]))

            adaptive_batches.each(stop - start, compute)
            yield plan.pairs_of(start, stop)
        if work.is_part:
            work.leave_part()
            return
        provenance = task.parts.work.provenance
        new = _found_boxes(work, job.neurons, top.image[job.neurons] != NO_IMAGE, provenance)
        add_rows(sources.store, CROPS, job.layer, job.crop, BOX, new, settings.force)
        work.finished()


def _write_boxes(work: PairWork, pairs: np.ndarray, heatmaps: "torch.Tensor") -> None:
    """The box in each of some heatmaps (m, H, W)."""
    from pure_cli.core.crops import blurred, box, seen

    work.write(BOX, pairs, np.array([box(one) for one in seen(blurred(heatmaps)).cpu()]))


def _found_boxes(work: PairWork, neurons: np.ndarray, there: np.ndarray, provenance: Provenance) -> NewRows:
    """The boxes of all of the work, neuron by neuron.

    Parameters
    ----------
    there : (N, n) bool, the references of the neurons that are images
    """
    n = there.shape[1]

    def row(place: int) -> np.ndarray:
        return np.where(there[place][:, None], work.of_neuron(BOX, place), -1)

    return NewRows(neurons, row, (n, 4), "int16", provenance)


class HeatmapReader:
    """What neurons of a layer saw of images, one batch at a time; a context in which the rules are in force.

    Parameters
    ----------
    crop : "crp", relevance of the pixels, or "activation", the neuron's own map enlarged
    example : (1, 3, H, W) uint8, an image

    Raises
    ------
    PureError
        It cannot be told for this network or layer.
    """

    def __init__(self, network: Network, layer: str, crop: str, example: "torch.Tensor"):
        from pure_cli.models.layers import check_layer, list_layers, repeated
        from pure_cli.models.rules import heatmap_rule, in_force

        self._network, self._layer, self._neurons = network, module_of(layer), network.neurons(layer)
        self._rules: Any = nullcontext()
        self._heatmaps: Any = None
        self._activation: Any = None
        layers = list_layers(network.model, network.inputs(example))
        self._rule = heatmap_rule(network.model, repeated(network.model, layers, self._layer) is not None)
        own = check_layer(self._layer, layers)
        self._grid = own.grid
        if crop == CRP:
            self._rules = in_force(self._rule, network.model)
        elif not own.has_map:
            raise PureError(f"The neurons of '{layer}' have no map over space. Use --crop crp or --crop none.")
        self._crop, self._example = crop, example
        self._bound = network.bound_of(layer, example) if crop == CRP else None

    def __enter__(self) -> "HeatmapReader":
        self._rules.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._rules.__exit__(*error)

    def misfits(self) -> list[str]:
        """What of the network the rule of the heatmaps does not fit, in sentences."""
        from pure_cli.models.rules import missing_canonizer

        if self._crop != CRP:
            return []
        sentence = missing_canonizer(
            self._rule, self._network.model, self._network.inputs(self._example), self._layer, "--crop activation"
        )
        return [sentence] if sentence else []

    def look_at(self, images: "torch.Tensor") -> None:
        """Look at a batch of images, (B, 3, H, W) uint8."""
        from pure_cli.core.circuits import activations
        from pure_cli.models.rules import heatmaps_for

        inputs = self._network.inputs(images)
        self._size = (inputs.shape[-2], inputs.shape[-1])
        if self._crop == CRP:
            self._heatmaps = heatmaps_for(
                self._rule, self._network.model, inputs, self._layer, self._neurons, self._bound
            )
        else:
            whole = activations(self._network.model, inputs, [self._layer])[self._layer]
            self._activation = self._neurons.read(whole)

    def maps(self, channels: np.ndarray, positions: np.ndarray, last: bool = False) -> "torch.Tensor":
        """How much one neuron of each of the first m images saw of each pixel.

        Parameters
        ----------
        channels, positions : (m,) int, the neuron and its maximum over space
        last : no further call will follow for this batch

        Returns
        -------
        (m, H, W) float, on the CPU
        """
        import torch

        from pure_cli.core.circuits import activation_maps

        device = self._network.device
        which = torch.from_numpy(channels.astype(np.int64)).to(device)
        if self._crop == CRP:
            where = torch.from_numpy(positions.astype(np.int64)).to(device)
            return self._heatmaps.at(which, where, last).cpu()
        return activation_maps(self._activation, which, self._size, self._grid).cpu()


def _provenance(sources: Sources, layer: str, crop: str, settings: EmbedSettings) -> Provenance:
    own = {"layer": layer, "crop": crop, "rule": RULES if crop == CRP else "", **settings.arithmetic}
    return Provenance(own, sources.collected.layers[layer].passed_on)
