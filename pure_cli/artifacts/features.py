"""Features of references, of whatever kind, neuron by neuron."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pure_cli.artifacts.relevances import AttributedLayer
from pure_cli.config import PURE_FEATURES
from pure_cli.core.references import NO_IMAGE
from pure_cli.errors import unknown
from pure_cli.workspace import Store


def split_features(features: str, attributed: AttributedLayer) -> tuple[str, str]:
    """A kind of features as (kind, lower layer): ``pure`` means the first lower layer, ``pure@K`` the layer K."""
    kind, _, lower = features.partition("@")
    if kind != PURE_FEATURES:
        return features, ""
    lower = lower or attributed.lower_layers[0]
    if lower not in attributed.lower_layers:
        hint = f"Run `pure attribute --lower-layer {lower}` to add it."
        raise unknown("lower layer in this workspace", lower, attributed.lower_layers, hint)
    return kind, lower


def feature_rows(
    store: Store, layer: str, attributed: AttributedLayer, features: str, neurons: np.ndarray
) -> Iterable[np.ndarray]:
    """Features of the references of each neuron, one neuron at a time.

    Parameters
    ----------
    features : ``pure``, ``pure@K``, ``activation-max`` or ``activation-mean``
    neurons : (N,) int64, all of them in `attributed`

    Yields
    ------
    (n, D) float32; rows without an image are zero
    """
    kind, lower = split_features(features, attributed)
    rows = np.searchsorted(attributed.neuron, neurons)
    if kind == PURE_FEATURES:
        for row in rows:
            with store.read("attribute") as file:
                values = file[f"layers/{layer}/relevance/{lower}"][int(row)]
            yield values
        return
    with store.read("attribute") as file:
        values = file[f"layers/{layer}/activations/{kind.removeprefix('activation-')}"][:]
    for row in rows:
        image = attributed.image[row]
        found = values[np.searchsorted(attributed.activation_image, image).clip(max=len(values) - 1)]
        yield np.where((image != NO_IMAGE)[:, None], found, 0).astype(np.float32)
