"""Which virtual neurons drive classes: chosen to first order on some images, silenced on others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.core.directions import module_of
from pure_cli.core.selection import evenly_spread
from pure_cli.errors import PureError
from pure_cli.settings.audit import AuditSettings
from pure_cli.stages.assignment.reader import CircuitReader
from pure_cli.stages.auditing.candidates import Candidates, Classes
from pure_cli.stages.auditing.images import Images, load
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.outcome import Progress
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once, named_images
from pure_cli.stages.runtime.network import Network, open_network, workers_of
from pure_cli.stages.runtime.soundness import require_sound

if TYPE_CHECKING:
    import torch

OTHERS = 1000  # images of all classes, spread evenly, on which everything is silenced
SHARE = 4  # of memory
NEURONS = 32  # whose circuits are computed in one pass
Group = tuple[int, ...]  # rows of the candidates that are silenced together
NO_OUTPUTS = "The model gives no outputs (B, K), so there are no classes that neurons could drive."


@dataclass(frozen=True, eq=False)
class Silenced:
    """What a network gives for images without groups of units, most of them of one.

    Attributes
    ----------
    fall : (G, P) float64, of the output of each image's class, against the mean of all outputs
    predicted : (G, P) int64, the largest output
    activation, whole : (G, P) float32, of the units and of their neurons: the highest over space, summed
    """

    fall: np.ndarray
    predicted: np.ndarray
    activation: np.ndarray
    whole: np.ndarray

    def only(self, which: slice) -> Silenced:
        """Of some of the groups."""
        return Silenced(self.fall[which], self.predicted[which], self.activation[which], self.whole[which])

    @classmethod
    def joined(cls, parts: Sequence[Silenced], axis: int) -> Silenced:
        """Of more groups (0) or more images (1)."""
        names = ("fall", "predicted", "activation", "whole")
        return cls(**{name: np.concatenate([getattr(one, name) for one in parts], axis=axis) for name in names})


class Auditor:
    """The network of a workspace, and images of a data set on which it is looked at for one class after the other.

    Parameters
    ----------
    how : as of the command
    notes : gets what the user should know
    progress : is told of images

    Attributes
    ----------
    outputs : how many the network has

    Raises
    ------
    PureError
        The network does not give one answer for an image, gives no outputs, or others than the classes.
    """

    def __init__(
        self, sources: Sources, candidates: Candidates, classes: Classes, how: AuditSettings, notes: list[str],
        progress: Progress,
    ):  # fmt: skip
        self.candidates, self.classes, self.how, self._notes = candidates, classes, how, notes
        self._progress, self._done, self._total = progress, 0, 0
        network = open_network(sources.collected, how.device)
        listing = classes.listing
        lower = [name for source in candidates.features for name in source.lower_layers]
        notes += require_sound(network, listing, [*candidates.layers, *lower])
        for layer in candidates.layers:
            network.bound_of(layer, first_image(listing, network))
        made = zip(candidates.features, candidates.clusterings, strict=True)
        self._readers = [CircuitReader.of(sources, *one, network) for one in made]
        self._network = self._fast(network)
        self._modules = [module_of(layer) for layer in candidates.layers]
        self._size = images_at_once(listing, network, how.batch_size, SHARE)
        self._batches = AdaptiveBatches(notes)
        self._seen_others = dict[Group, Silenced]()
        self.outputs = self._outputs(first_image(listing, network)).shape[1]
        classes.require_outputs(self.outputs)

    def expect(self, classes: Sequence[int]) -> None:
        """Says for which classes it will be asked, for the progress."""
        own = [min(self.how.sample, int((self.classes.label == number).sum())) for number in classes]
        self._total = sum(own) * 3 // 2 + 2 * len(classes) * min(OTHERS, len(self.classes.label))
        self._progress(0, self._total)

    def halves(self, number: int) -> tuple[Images, Images]:
        """Images of a class, which choose and which measure; the same where there is only one."""
        own = self.classes.listing.index[self.classes.label == number]
        images = self._load(evenly_spread(np.asarray(own), self.how.sample))
        if not len(images):
            raise PureError(f"None of the images of the class '{self.classes.names[number]}' can be read.")
        return (images.only(slice(0, None, 2)), images.only(slice(1, None, 2))) if len(images) > 1 else (images, images)

    @cached_property
    def others(self) -> Images:
        """Images of all classes."""
        return self._load(evenly_spread(np.asarray(self.classes.listing.index), OTHERS))

    @cached_property
    def others_predicted(self) -> np.ndarray:
        """(P,) the largest output for `others`."""
        return self.predicted(self.others)

    def predicted(self, images: Images) -> np.ndarray:
        """(P,) int64, the largest output of the network as it is."""
        parts: list[np.ndarray] = []

        self._each(images, lambda part: parts.append(self._outputs(part.pixels).argmax(axis=1)))
        return np.concatenate(parts)

    def first_order(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
        """The candidates that images of one class say drive it most, to first order, and how much.

        What a neuron adds to the output goes to its virtual neurons by their shares of it on each image. Of a virtual
        neuron it is never more than the sum of what its neuron adds where that is positive; so neurons are looked at in
        the order of these sums, until no other can come among the first.

        Returns
        -------
        which : (U,) int64, rows of the candidates, the largest effect first, all above 0
        effect : (U,) float64
        """
        relevance = self._relevances(images)
        unit, count = self.candidates.unit, self.how.count
        of_neuron = defaultdict(list)
        for row, (place, neuron, _) in enumerate(unit.tolist()):
            of_neuron[place, neuron].append(row)
        keys = list(of_neuron)
        most = np.array([relevance[place][:, neuron].clip(min=0).mean() for place, neuron in keys])
        order = np.argsort(-most, kind="stable")
        effect = np.full(len(unit), -np.inf)
        for start in range(0, len(order), NEURONS):
            bar = max(np.sort(effect)[-count] if len(effect) >= count else -np.inf, 0.0)
            if most[order[start]] <= bar:
                break
            chunk = [keys[i] for i in order[start : start + NEURONS]]
            for key, share in self._shares(images, chunk).items():
                own = of_neuron[key]
                effect[own] = (relevance[key[0]][:, key[1], None] * share[:, unit[own, 2]]).mean(axis=0)
        first = np.argsort(-effect, kind="stable")[:count]
        first = first[effect[first] > 0]
        return first, effect[first]

    def silence(self, images: Images, groups: Sequence[Group]) -> Silenced:
        """What is left of the outputs without each of some groups of candidates."""
        parts: list[Silenced] = []

        def compute(part: Images) -> None:
            parts.append(self._silenced(part, groups))
            self._advance(len(part))

        self._each(images, compute)
        return Silenced.joined(parts, axis=1)

    def silence_on_others(self, groups: Sequence[Group]) -> Silenced:
        """The same on `others`; what was silenced for another class is not silenced again."""
        new = [group for group in groups if group not in self._seen_others]
        if new:
            found = self.silence(self.others, new)
            for place, group in enumerate(new):
                self._seen_others[group] = found.only(slice(place, place + 1))
        return Silenced.joined([self._seen_others[group] for group in groups], axis=0)

    def _silenced(self, images: Images, groups: Sequence[Group]) -> Silenced:
        """Of a batch."""
        from pure_cli.core.silencing import Silencing

        inputs, unit = self._network.inputs(images.pixels), self.candidates.unit
        used = unit[np.unique(np.concatenate([np.array(group) for group in groups]))]
        shares = self._shares_of(inputs, [(place, neuron) for place, neuron, _ in used.tolist()])
        modules = [self._modules[place] for place in np.unique(used[:, 0]).tolist()]
        silencing = Silencing(self._network.model, inputs, modules)
        if silencing.outputs is None:
            raise PureError(NO_OUTPUTS)
        before = self._ahead(silencing.outputs, images.label)
        rows = []
        for group in groups:
            parts: dict[str, dict[int, torch.Tensor]] = defaultdict(dict)
            for place, neuron, part in unit[list(group)].tolist():
                own, share = parts[self._modules[place]], shares[place, neuron][:, part]
                own[neuron] = own[neuron] + share if neuron in own else share
            outputs = silencing.without(parts)
            whole = [(silencing.highest[module][:, c].cpu().numpy(), share.cpu().numpy())
                     for module, own in parts.items() for c, share in own.items()]  # fmt: skip
            fall, predicted = before - self._ahead(outputs, images.label), outputs.argmax(dim=1).cpu().numpy()
            activation = np.sum([highest * share for highest, share in whole], axis=0)
            rows.append((fall, predicted, activation, np.sum([highest for highest, _ in whole], axis=0)))
        return Silenced(*(np.stack(part) for part in zip(*rows, strict=True)))

    @staticmethod
    def _ahead(outputs: torch.Tensor, label: np.ndarray) -> np.ndarray:
        """(P,) float64, how far the output of each image's class is above the mean of its outputs."""
        found = outputs.double().cpu().numpy()
        return found[np.arange(len(found)), label] - found.mean(axis=1)

    def _relevances(self, images: Images) -> list[np.ndarray]:
        """(P, C) float64 of each layer, of each image's class."""
        import torch

        from pure_cli.core.output_effects import relevances_for_class

        parts: list[list[np.ndarray]] = []

        def compute(part: Images) -> None:
            inputs = self._network.inputs(part.pixels)
            target = torch.from_numpy(part.label).to(inputs.device)
            found = relevances_for_class(self._network.model, inputs, self._modules, target)
            if found is None:
                raise PureError(NO_OUTPUTS)
            parts.append([found[module].double().cpu().numpy() for module in self._modules])
            self._advance(len(part))

        self._each(images, compute)
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _shares(self, images: Images, keys: list[tuple[int, int]]) -> dict[tuple[int, int], np.ndarray]:
        """(P, V + 1) of neurons, by place of their layer and number: whose their activation is."""
        parts: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)

        def compute(part: Images) -> None:
            for key, share in self._shares_of(self._network.inputs(part.pixels), keys).items():
                parts[key].append(share.cpu().numpy())

        self._each(images, compute)
        return {key: np.concatenate(part) for key, part in parts.items()}

    def _shares_of(self, inputs: torch.Tensor, keys: list[tuple[int, int]]) -> dict[tuple[int, int], torch.Tensor]:
        found = {}
        for place, reader in enumerate(self._readers):
            neurons = sorted({neuron for where, neuron in keys if where == place})
            for neuron, share in (reader.shares(inputs, neurons) if neurons else {}).items():
                found[place, neuron] = share
        return found

    def _fast(self, network: Network) -> Network:
        """As fast as it gets, where the rules do without hooks; the readers get it too."""
        from pure_cli.models.rules import RULES

        if any(RULES[reader.rule].hooks for reader in self._readers):
            return network
        lower = [name for reader in self._readers for name in reader.features.every_lower_layer]
        keep = [*map(module_of, self.candidates.layers), *lower]
        fast = network.ready(first_image(self.classes.listing, network), keep)
        for reader in self._readers:
            reader.network = fast
        return fast

    def _outputs(self, pixels: torch.Tensor) -> np.ndarray:
        """(P, K) float32."""
        import torch

        from pure_cli.core.forward import run

        with torch.no_grad():
            found = run(self._network.model, self._network.inputs(pixels))
        if not isinstance(found, torch.Tensor) or found.ndim != 2:
            raise PureError(NO_OUTPUTS)
        values: np.ndarray = found.float().cpu().numpy()
        return values

    def _load(self, index: np.ndarray) -> Images:
        listing = self.classes.listing
        return load(self._network, listing, np.asarray(index), self._size, workers_of(self.how), self._notes)

    def _each(self, images: Images, compute: Callable[[Images], None]) -> None:
        """Work on images batch by batch."""

        def of_part(start: int, stop: int) -> None:
            part = images.only(slice(start, stop))
            with named_images(self.classes.listing, part.index):
                compute(part)

        self._batches.each_of(len(images), self._size, of_part)

    def _advance(self, images: int) -> None:
        self._done += images
        self._progress(min(self._done, self._total), self._total)
