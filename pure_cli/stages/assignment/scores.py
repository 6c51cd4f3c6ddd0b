"""How neurons fire on all images of a data set, in one pass that goes on where a killed process left it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pure_cli.data.listing import Listing
from pure_cli.provenance import Provenance
from pure_cli.scratch import Scratch
from pure_cli.settings.collect import CollectSettings
from pure_cli.settings.shared import Running
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.outcome import Progress
from pure_cli.stages.references.dataset_pass import damage_notes
from pure_cli.stages.references.scores import LayerScores
from pure_cli.stages.resume.unfinished_work import Work
from pure_cli.stages.runtime.images import images_at_once
from pure_cli.stages.runtime.network import Network, workers_of

SCORE = "score"


def scores_of_all(
    sources: Sources,
    layer: str,
    neurons: np.ndarray,
    listing: Listing,
    network: Network,
    how: Running,
    notes: list[str],
    progress: Progress,
    made_from: Sequence[str],
) -> np.ndarray:
    """Scores (M, N) float32 of neurons (N,) for the images of a listing; NaN for those that cannot be read.

    Parameters
    ----------
    sources : say how scores are pooled over space
    notes : gets what the user should know
    made_from : fingerprints of what says which neurons and images these are
    """
    from pure_cli.data.loader import batches

    settings = as_collected(sources, listing)
    scores = LayerScores(network, [layer], settings, listing)
    size = images_at_once(listing, network, how.batch_size)
    about = {"neurons": neurons.tolist(), "batch_size": size, "step": "scores", "pool": settings.pooled}
    about |= how.arithmetic
    work = Work("assign", Provenance({"layer": layer}, {"inputs": list(made_from)}), about, neurons.tolist())
    count = len(listing.index)
    scratch = Scratch(sources.store.partial(work.name), work.text, {SCORE: ((count, len(neurons)), "float32")})
    damaged = []
    with scratch:
        loaded = batches(listing, listing.index, network.preprocessing, size, workers_of(how), scratch.done)
        progress(scratch.done * size, count)
        for chunk, batch in enumerate(loaded, scratch.done):
            start, stop = chunk * size, min((chunk + 1) * size, count)
            values = np.full((stop - start, len(neurons)), np.nan, np.float32)
            if len(batch.index):
                scored, *_ = scores.score(batch)[layer]
                values[np.isin(listing.index[start:stop], batch.index)] = scored.cpu().numpy()[:, neurons]
            damaged += [(one.index, one.path, one.reason) for one in batch.damaged]
            scratch.write(SCORE, np.arange(start, stop), values)
            scratch.finish_step()
            progress(stop, count)
        found = scratch.rows(SCORE, 0, count)
    notes += damage_notes(damaged)
    return found


def as_collected(sources: Sources, listing: Listing) -> CollectSettings:
    """Activations, pooled over space as those of the references are, where these are ranked by activation."""
    origin = sources.collected.origin
    own = origin.get("score", {})
    pool = own.get("pool") if own.get("by", "activation") == "activation" else None
    return CollectSettings(model=origin["model"], data=listing.data, pool=pool)
