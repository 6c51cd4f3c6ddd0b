"""What attribute computes: jobs, and one batch of images of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.artifacts import Collected, CollectedLayer
from pure_cli.core.directions import module_of
from pure_cli.errors import PureFailure
from pure_cli.settings.attribute import AttributeSettings
from pure_cli.stages.resume.pair_work import PairWork, Plan
from pure_cli.stages.resume.row_parts import RowParts
from pure_cli.stages.resume.unfinished_work import Work
from pure_cli.stages.runtime.begun import Begun
from pure_cli.stages.runtime.network import Network
from pure_cli.stages.runtime.soundness import require_same_scores, scores_again

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Circuits

MOST_HELD = 1 << 26  # bytes of relevances that wait on the device to be copied together


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
    parts : of what a killed process had begun, or of the job itself, what is to be done here
    plan : of the neurons of `work`
    channels : of each lower layer
    layer_channels : of the layer
    begun : what was kept of the images, where passes begin there
    """

    job: AttributionJob
    network: Network
    collected: Collected
    settings: AttributeSettings
    parts: RowParts
    plan: Plan
    channels: dict[str, int]
    layer_channels: int
    batch_size: int
    begun: Begun | None = None

    @property
    def work(self) -> Work:
        """All of the work."""
        return self.parts.work

    @property
    def pairs_to_do(self) -> int:
        """Pairs that are computed here."""
        return self.plan.pairs_of_all(self.parts.ranges)

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
        pairs, images = self.plan.pairs, len(self.plan.images)
        found = dict.fromkeys(("max", "mean"), ((images, self.layer_channels), "float32"))
        for lower, name in self.names.items():
            found[name] = ((pairs, self.channels[lower]), "float32")
            found[f"{name}-norm"] = ((pairs, 1), "float32")
            found[f"{name}-mean"] = ((images, self.channels[lower]), "float32")
        return found


def compute_batch(
    task: AttributionTask, work: PairWork, bounds: tuple[int, int], inputs: torch.Tensor
) -> Callable[[], None]:
    """Compute the images of a part of a batch.

    Parameters
    ----------
    bounds : start and stop of the images in the plan

    Returns
    -------
    function
        Puts what is found where it belongs; it waits for the device, and what is called before it does not.
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
    held: list[tuple[np.ndarray, dict[str, torch.Tensor]]] = []
    size = 0  # bytes
    for pairs, found in _relevances(task, circuits, bounds):
        held.append((pairs, found))
        size += sum(tensor.nbytes for tensor in found.values())
        if size > MOST_HELD:
            _write_relevances(task, work, held)
            held, size = [], 0

    def write() -> None:
        _write_relevances(task, work, held)
        _write_activations(task, work, circuits, bounds)

    return write


def _relevances(
    task: AttributionTask, circuits: Circuits, bounds: tuple[int, int]
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """The pairs (m,) of each round, and what the arrays of relevances get of them: (m, D) and norms (m, 1)."""
    import torch

    from pure_cli.core.circuits import l1_normalised

    plan, device = task.plan, task.network.device
    rounds = list(plan.rounds(*bounds))
    pairs = np.concatenate(rounds) if rounds else np.zeros(0, np.int64)
    neurons, slots = task.neurons[plan.neuron_row[pairs]], plan.slot[pairs]
    which, at = torch.from_numpy(neurons).to(device), None
    if task.settings.position == "max":
        at = torch.from_numpy(task.source.top.position[neurons, slots].astype(np.int64)).to(device)
    begin = 0
    for turn in rounds:
        own = slice(begin, begin + len(turn))
        begin = own.stop
        found: dict[str, torch.Tensor] = {}
        positions = None if at is None else at[own]
        for lower, values in circuits.summed(which[own], last=turn is rounds[-1], positions=positions).items():
            relevance, norm = l1_normalised(values)
            found |= {task.names[lower]: relevance, f"{task.names[lower]}-norm": norm[:, None]}
        yield turn, found


def _write_relevances(
    task: AttributionTask, work: PairWork, held: list[tuple[np.ndarray, dict[str, torch.Tensor]]]
) -> None:
    """Write the relevances of some rounds of pairs."""
    import torch

    from pure_cli.core.transfer import on_host

    if not held:
        return
    pairs, names = np.concatenate([pairs for pairs, _ in held]), list(held[0][1])
    arrays = dict(zip(names, on_host([torch.cat([found[name] for _, found in held]) for name in names]), strict=True))
    for lower, name in task.names.items():
        if not np.isfinite(arrays[f"{name}-norm"]).all():
            raise _not_finite(task.job.layer, lower, task.settings.precision)
    order = np.argsort(pairs)
    for name, values in arrays.items():
        work.write(name, pairs[order], values[order])


def _write_activations(task: AttributionTask, work: PairWork, circuits: Circuits, bounds: tuple[int, int]) -> None:
    """Write how the layer and its lower layers fire on the images, on which neurons have to score as they did when the
    references were collected."""
    from pure_cli.core.layout import channels_first
    from pure_cli.core.transfer import on_host

    firing = _finite(channels_first(circuits.activation).float().clamp(min=0))
    found = {"max": firing.amax(dim=-1), "mean": firing.mean(dim=-1)}
    found |= {f"{task.names[lower]}-mean": _finite(values) for lower, values in circuits.lower_mean().items()}
    again = scores_again(circuits, task.source.provenance.settings.get("score", {}))
    arrays = on_host([*found.values(), *([again] if again is not None else [])])
    if again is not None:
        _require_same_scores(task, arrays[-1], bounds)
    for name, values in zip(found, arrays, strict=False):
        work.write(name, np.arange(*bounds), values)


def _require_same_scores(task: AttributionTask, again: np.ndarray, bounds: tuple[int, int]) -> None:
    plan, (start, stop) = task.plan, bounds
    pairs = plan.pairs_in(start, stop)
    row_of_image = np.repeat(np.arange(stop - start), plan.counts[start:stop])
    seen = (row_of_image, task.neurons[plan.neuron_row[pairs]], plan.slot[pairs])
    require_same_scores(task.collected, task.job.layer, again, seen, task.settings.precision)


def _finite(activations: torch.Tensor) -> torch.Tensor:
    """A channel of a broken checkpoint, which collect has told of, counts as one that never fires."""
    return activations.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _not_finite(layer: str, lower: str, precision: str) -> PureFailure:
    advice = "Mend the weights" if precision == "float32" else "Use --precision float32"
    return PureFailure(
        f"The relevances of '{layer}' at '{lower}' are no finite numbers (NaN or infinity). {advice}, or choose "
        "another --lower-layer."
    )
