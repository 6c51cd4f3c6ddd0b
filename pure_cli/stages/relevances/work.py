"""What attribute computes: jobs, and one batch of images of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import Collected
from pure_cli.core.directions import module_of
from pure_cli.errors import PureFailure
from pure_cli.settings.attribute import AttributeSettings
from pure_cli.stages.resume.pair_work import PairWork, Plan
from pure_cli.stages.resume.unfinished_work import Work
from pure_cli.stages.runtime.network import Network
from pure_cli.stages.runtime.soundness import require_same_scores, scores_again

if TYPE_CHECKING:
    import torch


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
class Task:
    """A job with all that it takes.

    Attributes
    ----------
    work : what a killed process had begun, or the job itself
    plan : of the neurons of `work`
    channels : of each lower layer
    layer_channels : of the layer
    """

    job: AttributionJob
    work: Work
    plan: Plan
    channels: dict[str, int]
    layer_channels: int
    batch_size: int

    @property
    def names(self) -> dict[str, str]:
        """Lower layer to what the array of its relevances is called."""
        return {lower: f"relevance-{i}" for i, lower in enumerate(self.job.lower_layers)}


def write_batch(
    task: Task,
    work: PairWork,
    network: Network,
    collected: Collected,
    settings: AttributeSettings,
    bounds: tuple[int, int],
    inputs: torch.Tensor,
) -> None:
    """Compute the images of a part of a batch, and put what is found where it belongs.

    Parameters
    ----------
    bounds : start and stop of the images in the plan
    """
    import torch

    from pure_cli.core.circuits import normalised_arrays
    from pure_cli.core.layout import channels_first
    from pure_cli.models.rules import circuits_for

    job, plan, names, neurons = task.job, task.plan, task.names, np.array(task.work.neurons, dtype=np.int64)
    layer, which = module_of(job.layer), np.arange(*bounds)
    circuits = circuits_for(
        settings.rule,
        network.model,
        inputs,
        layer,
        job.lower_layers,
        network.neurons(job.layer),
        network.bounds[layer],
    )
    source = collected.layers[job.layer]
    score = source.provenance.settings.get("score", {})
    every = np.arange(plan.offsets[bounds[0]], plan.offsets[bounds[0]] + plan.pairs_of(*bounds))
    pairs_seen = np.repeat(which - bounds[0], plan.counts[bounds[0] : bounds[1]]), neurons[plan.neuron_row[every]]
    again = scores_again(circuits, score)
    require_same_scores(collected, job.layer, again, (*pairs_seen, plan.slot[every]), settings.precision)
    firing = _finite(channels_first(circuits.activation).float().clamp(min=0))
    work.write("max", which, firing.amax(dim=-1).cpu().numpy())
    work.write("mean", which, firing.mean(dim=-1).cpu().numpy())
    for lower, values in circuits.lower_mean().items():
        work.write(f"{names[lower]}-mean", which, _finite(values).cpu().numpy())
    rounds = list(plan.rounds(*bounds))
    for pairs in rounds:
        rows, slots = plan.neuron_row[pairs], plan.slot[pairs]
        channels, where = torch.from_numpy(neurons[rows]).to(network.device), None
        if settings.position == "max":
            chosen = collected.layers[job.layer].top.position[neurons[rows], slots].astype(np.int64)
            where = torch.from_numpy(chosen).to(network.device)
        found = circuits.summed(channels, last=pairs is rounds[-1], positions=where)
        for lower, values in found.items():
            relevance, norm = normalised_arrays(values)
            if not np.isfinite(norm).all():
                raise _not_finite(job.layer, lower, settings.precision)
            work.write(names[lower], plan.row(pairs), relevance)
            work.write(f"{names[lower]}-norm", plan.row(pairs), norm[:, None])


def _finite(activations: torch.Tensor) -> torch.Tensor:
    """A channel of a broken checkpoint, which collect has told of, counts as one that never fires."""
    return activations.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _not_finite(layer: str, lower: str, precision: str) -> PureFailure:
    advice = "Mend the weights" if precision == "float32" else "Use --precision float32"
    return PureFailure(
        f"The relevances of '{layer}' at '{lower}' are no finite numbers (NaN or infinity). {advice}, or choose "
        "another --lower-layer."
    )
