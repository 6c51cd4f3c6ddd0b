"""What attribute computes: jobs, and one batch of images of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import Collected, CollectedLayer
from pure_cli.core.directions import module_of
from pure_cli.errors import PureFailure
from pure_cli.settings.attribute import AttributeSettings
from pure_cli.stages.resume.pair_work import PairWork, Plan
from pure_cli.stages.resume.unfinished_work import Work
from pure_cli.stages.runtime.network import Network
from pure_cli.stages.runtime.soundness import require_same_scores, scores_again

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Circuits


@dataclass(frozen=True)
class AttributionJob:
    """Neurons of one layer whose relevances at some lower layers are to be computed together.

    Attributes
    ----------
    there : neurons that have relevances at all these lower layers
    """

    layer: str
    neurons: np.ndarray
    lower_layers: list[str]
    there: np.ndarray


@dataclass(frozen=True)
class AttributionTask:
    """A job with all that it takes.

    Attributes
    ----------
    collected : the references
    work : what a killed process had begun, or the job itself
    plan : of the neurons of `work`
    channels : of each lower layer
    layer_channels : of the layer
    """

    job: AttributionJob
    network: Network
    collected: Collected
    settings: AttributeSettings
    work: Work
    plan: Plan
    channels: dict[str, int]
    layer_channels: int
    batch_size: int

    @property
    def names(self) -> dict[str, str]:
        """Lower layer to what the array of its relevances is called."""
        return {lower: f"relevance-{i}" for i, lower in enumerate(self.job.lower_layers)}

    @property
    def module(self) -> str:
        """Of the layer's neurons."""
        return module_of(self.job.layer)

    @property
    def source(self) -> CollectedLayer:
        """The references of the layer."""
        return self.collected.layers[self.job.layer]

    @cached_property
    def neurons(self) -> np.ndarray:
        """(N,) int64, those of `work`."""
        return np.array(self.work.neurons, dtype=np.int64)

    @property
    def arrays(self) -> dict[str, tuple[tuple[int, int], str]]:
        """Name to shape and type of all that is computed: of the pairs, and of the images."""
        pairs, images = len(self.work.neurons) * self.plan.references, len(self.plan.images)
        found = dict.fromkeys(("max", "mean"), ((images, self.layer_channels), "float32"))
        for lower, name in self.names.items():
            found[name] = ((pairs, self.channels[lower]), "float32")
            found[f"{name}-norm"] = ((pairs, 1), "float32")
            found[f"{name}-mean"] = ((images, self.channels[lower]), "float32")
        return found


def write_batch(task: AttributionTask, work: PairWork, bounds: tuple[int, int], inputs: torch.Tensor) -> None:
    """Compute the images of a part of a batch, and put what is found where it belongs.

    Parameters
    ----------
    bounds : start and stop of the images in the plan
    """
    from pure_cli.models.rules import circuits_for

    network, layer = task.network, task.job.layer
    circuits = circuits_for(
        task.settings.rule,
        network.model,
        inputs,
        task.module,
        task.job.lower_layers,
        network.neurons(layer),
        network.bounds[task.module],
    )
    _require_same_scores(task, circuits, bounds)
    _write_activations(task, work, circuits, bounds)
    rounds = list(task.plan.rounds(*bounds))
    for pairs in rounds:
        _write_relevances(task, work, circuits, pairs, last=pairs is rounds[-1])


def _require_same_scores(task: AttributionTask, circuits: Circuits, bounds: tuple[int, int]) -> None:
    """Make sure that neurons score on these images as they did when the references were collected."""
    plan, (start, stop) = task.plan, bounds
    pairs = plan.pairs_in(start, stop)
    row_of_image = np.repeat(np.arange(stop - start), plan.counts[start:stop])
    neurons = task.neurons[plan.neuron_row[pairs]]
    again = scores_again(circuits, task.source.provenance.settings.get("score", {}))
    seen = (row_of_image, neurons, plan.slot[pairs])
    require_same_scores(task.collected, task.job.layer, again, seen, task.settings.precision)


def _write_activations(task: AttributionTask, work: PairWork, circuits: Circuits, bounds: tuple[int, int]) -> None:
    """Write how the layer and its lower layers fire on the images."""
    from pure_cli.core.layout import channels_first

    images = np.arange(*bounds)
    firing = _finite(channels_first(circuits.activation).float().clamp(min=0))
    work.write("max", images, firing.amax(dim=-1).cpu().numpy())
    work.write("mean", images, firing.mean(dim=-1).cpu().numpy())
    for lower, values in circuits.lower_mean().items():
        work.write(f"{task.names[lower]}-mean", images, _finite(values).cpu().numpy())


def _write_relevances(task: AttributionTask, work: PairWork, circuits: Circuits, pairs: np.ndarray, last: bool) -> None:
    """Write the relevances of one round of pairs.

    Parameters
    ----------
    last : no other round follows for these images
    """
    import torch

    from pure_cli.core.circuits import normalised_arrays

    rows, device = task.plan.row(pairs), task.network.device
    neurons, slots = task.neurons[task.plan.neuron_row[pairs]], task.plan.slot[pairs]
    positions = None
    if task.settings.position == "max":
        positions = torch.from_numpy(task.source.top.position[neurons, slots].astype(np.int64)).to(device)
    found = circuits.summed(torch.from_numpy(neurons).to(device), last=last, positions=positions)
    for lower, values in found.items():
        relevance, norm = normalised_arrays(values)
        if not np.isfinite(norm).all():
            raise _not_finite(task.job.layer, lower, task.settings.precision)
        work.write(task.names[lower], rows, relevance)
        work.write(f"{task.names[lower]}-norm", rows, norm[:, None])


def _finite(activations: torch.Tensor) -> torch.Tensor:
    """A channel of a broken checkpoint, which collect has told of, counts as one that never fires."""
    return activations.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _not_finite(layer: str, lower: str, precision: str) -> PureFailure:
    advice = "Mend the weights" if precision == "float32" else "Use --precision float32"
    return PureFailure(
        f"The relevances of '{layer}' at '{lower}' are no finite numbers (NaN or infinity). {advice}, or choose "
        "another --lower-layer."
    )
