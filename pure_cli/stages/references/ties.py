"""Scores that say nothing: equal ones, which may be of one picture twice, and those of neurons that never fire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from pure_cli.artifacts import CollectedLayer
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.core.references import NO_IMAGE, TopImages
from pure_cli.data.listing import Listing
from pure_cli.words import counted

COMPARED = 20  # pairs of images, at most: reading them takes time


def same_pictures(top: TopImages, listing: Listing, preprocessing: Callable[[], Preprocessing]) -> np.ndarray:
    """(T, 2) data-set indices of references that look the same to the model, among those that tie most often.

    Parameters
    ----------
    preprocessing : gives the model's, where something ties
    """
    from pure_cli.data.decode import DamagedImage
    from pure_cli.data.loader import decode_one

    equal = (top.value[:, 1:] == top.value[:, :-1]) & (top.mean[:, 1:] == top.mean[:, :-1])
    rows, slots = np.nonzero(equal & (top.image[:, 1:] != NO_IMAGE))
    pairs = np.sort(np.stack([top.image[rows, slots], top.image[rows, slots + 1]], axis=1), axis=1)
    twins = []
    for pair, _ in Counter(map(tuple, pairs.tolist())).most_common(COMPARED):
        try:
            first, again = (decode_one(listing, index, preprocessing()) for index in pair)
            if np.array_equal(first, again):
                twins.append(pair)
        except DamagedImage:  # since the pass
            continue
    return np.array(twins, np.int64).reshape(-1, 2)


def tie_notes(layers: Mapping[str, CollectedLayer], listing: Listing) -> Iterator[str]:
    """Sentences on references whose order says nothing, on dead layers, and on pictures that are in the data twice."""
    for name, layer in layers.items():
        tied, fired = layer.tied, (layer.top.value > layer.fires_above) & (layer.top.image != NO_IMAGE)
        if not fired.any():
            yield f"No neuron of '{name}' fires on any image. Are these the right weights, and the right layer?"
        if not tied.any():
            continue
        share = tied.sum() / fired.sum()
        often = f"{share:.0%} of all references" if share >= 0.01 else "less than 1% of all references"
        yield (
            f"{(tied > 0).sum():,} of the {counted(layer.neurons, 'neuron')} of '{name}' have references with equal "
            f"scores ({often}): these are in order of the mean over space, then by a hash of the image's number."
        )
    twins = list(dict.fromkeys(tuple(pair) for layer in layers.values() for pair in layer.twins.tolist()))
    if twins:
        first, again = (listing.paths[index] for index in twins[0])
        more = f", and {counted(len(twins) - 1, 'more pair')}" if len(twins) > 1 else ""
        yield f"A picture that neurons refer to is in the data twice, and counts twice: {first} and {again}{more}."
