"""How neurons fire on all images of a data set, in one pass that goes on where a killed process left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pure_cli.data.listing import Listing
from pure_cli.provenance import Provenance
from pure_cli.scratch import Scratch
from pure_cli.settings.assign import AssignSettings
from pure_cli.settings.collect import CollectSettings
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.outcome import Progress
from pure_cli.stages.references.dataset_pass import damage_notes
from pure_cli.stages.references.scores import LayerScores
from pure_cli.stages.resume.row_parts import RowParts
from pure_cli.stages.resume.unfinished_work import Work
from pure_cli.stages.runtime.images import images_at_once, images_of_a_step
from pure_cli.stages.runtime.network import Network, workers_of

if TYPE_CHECKING:
    from pure_cli.data.loader import Batch

SCORE = "score"


@dataclass(frozen=True)
class ScoresTask:
    """How neurons fire on all images, and which of it is found out here.

    Attributes
    ----------
    neurons : (N,) of the layer
    how : how the network is run
    """

    sources: Sources
    layer: str
    neurons: np.ndarray
    listing: Listing
    network: Network
    how: AssignSettings
    scores: LayerScores
    parts: RowParts

    @classmethod
    def of(
        cls,
        sources: Sources,
        layer: str,
        neurons: np.ndarray,
        listing: Listing,
        network: Network,
        how: AssignSettings,
        made_from: Sequence[str],
    ) -> ScoresTask:
        """Of what is to be done here.

        Parameters
        ----------
        sources : say how scores are pooled over space
        made_from : fingerprints of what says which neurons and images these are
        """
        settings = as_collected(sources, listing)
        size = images_at_once(listing, network, how.batch_size)
        about = {"neurons": neurons.tolist(), "batch_size": size, "step": "scores", "pool": settings.pooled}
        about |= how.arithmetic
        work = Work("assign", Provenance({"layer": layer}, {"inputs": list(made_from)}), about, neurons.tolist())
        starts = np.searchsorted(listing.index, listing.starts)
        step, kind = images_of_a_step(listing, network, how.batch_size), network.device.type
        parts = RowParts.of(sources.store, work, len(listing), kind, how, step, starts=starts)
        scores = LayerScores(network, [layer], settings, listing)
        return cls(sources, layer, neurons, listing, network, how, scores, parts)

    def gathered(self) -> ScoresTask:
        """The same for a process that does a part, once all parts are there: from them."""
        return replace(self, parts=self.parts.gathered())

    def compute(self, notes: list[str], progress: Progress) -> np.ndarray | None:
        """Scores (M, N) float32 of the neurons for the images; NaN for those that cannot be read. None where only a
        part of them was found out.

        Parameters
        ----------
        notes : gets what the user should know
        """
        parts, index, size = self.parts, self.listing.index, int(self.parts.work.how["batch_size"])
        steps, damaged = parts.steps(size), list[tuple[int, str, str]]()
        total = sum(stop - start for start, stop in steps)
        with self._scratch() as scratch:
            parts.adopt(scratch, lambda name, start, stop: (start, stop))
            to_do = steps[scratch.done :]
            done = total - sum(stop - start for start, stop in to_do)
            how = self.network.preprocessing, size, workers_of(self.how), scratch.done
            for (start, stop), batch in zip(to_do, parts.batches(self.listing, index, *how), strict=True):
                scratch.write(SCORE, np.arange(start, stop), self._of(batch, index[start:stop]))
                damaged += [(one.index, one.path, one.reason) for one in batch.damaged]
                scratch.finish_step()
                progress(done := done + stop - start, total)
            notes += damage_notes(damaged)
            if parts.header is not None:
                scratch.sync()
                parts.write(scratch, lambda name, start, stop: (start, stop))
                return None
            return scratch.rows(SCORE, 0, len(index))

    def _scratch(self) -> Scratch:
        work, shape = self.parts.unfinished, (len(self.listing), len(self.neurons))
        return Scratch(self.parts.place.partial(work.name), work.text, {SCORE: (shape, "float32")})

    def _of(self, batch: Batch, index: np.ndarray) -> np.ndarray:
        """Of the images of a batch, with those that could not be read."""
        values = np.full((len(index), len(self.neurons)), np.nan, np.float32)
        if len(batch.index):
            scored, *_ = self.scores.score(batch)[self.layer]
            values[np.isin(index, batch.index)] = scored.cpu().numpy()[:, self.neurons]
        return values


def as_collected(sources: Sources, listing: Listing) -> CollectSettings:
    """Activations, pooled over space as those of the references are, where these are ranked by activation."""
    origin = sources.collected.origin
    own = origin.get("score", {})
    pool = own.get("pool") if own.get("by", "activation") == "activation" else None
    return CollectSettings(model=origin["model"], data=listing.data, pool=pool)
