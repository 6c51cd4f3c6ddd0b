"""Whether the network gives one answer for one image: looked at before a pass, and held against what collect found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Collected
from pure_cli.core.directions import module_of
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.settings.shared import FLOAT32, TF32
from pure_cli.stages.runtime.images import another_image, first_image
from pure_cli.stages.runtime.network import Network
from pure_cli.waiting import waiting_for

if TYPE_CHECKING:
    import torch

    from pure_cli.core.circuits import Circuits

TOLERANCE = {FLOAT32: 1e-2, TF32: 5e-2}  # of a layer's highest score: kernels and merged norms differ by far less
FEW_BITS = 0.2  # the same in numbers of few bits
RARE = 0.01  # of the pairs of a batch; where rounding decides between branches, single ones may differ


def scores_again(circuits: Circuits, score: Mapping[str, Any]) -> torch.Tensor | None:
    """What collect would score now, (B, C) float32 on the device; None where the scores are of more than activations.

    Parameters
    ----------
    circuits : of a batch of images
    score : settings of the scores, as collect remembers them
    """
    if score.get("by", "activation") != "activation":
        return None
    return circuits.scores(score.get("pool", "max"))


def require_same_scores(
    collected: Collected,
    layer: str,
    found: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    precision: str,
) -> None:
    """Make sure that references have the scores that collect found.

    Parameters
    ----------
    found : (B, C), by `scores_again`
    pairs : (P,) rows of `found`, neurons, and their slots among the references
    precision : in which `found` was computed

    Raises
    ------
    PureError
        They have others.
    """
    rows, neurons, slots = pairs
    if not len(rows):
        return
    top = collected.layers[layer].top
    expected, now = top.value[neurons, slots], found[rows, neurons]
    finite = np.isfinite(expected) & np.isfinite(now)
    scale = float(np.abs(top.value[np.isfinite(top.value)]).max(initial=0))
    apart = np.where(finite, np.abs(np.where(finite, now - expected, 0)), 0)
    then = collected.layers[layer].provenance.precision
    off = apart > max(TOLERANCE.get(one, FEW_BITS) for one in (precision, then)) * scale
    if off.mean() <= RARE:
        return
    worst = int(apart.argmax())
    image = int(top.image[neurons[worst], slots[worst]])
    path = collected.path_of.get(image, f"image {image}")
    raise PureError(
        f"Neuron {neurons[worst]} of '{layer}' scores {now[worst]:.4g} on {path}, and {expected[worst]:.4g} when the "
        "references were collected: the code of the network, the images or what it computes of one image has changed. "
        "Run `pure collect --force`; if it comes again, the network is no function of one image."
    )


def require_sound(network: Network, listing: Listing, layers: Iterable[str]) -> list[str]:
    """Make sure, once for each layer, that what it gives is a function of one image, and that its inputs are plausible.

    Returns
    -------
    list of str
        What the user should know.

    Raises
    ------
    PureError
        The network draws at random, or lets the images of a batch see each other.
    """
    from pure_cli.core.forward import NotReached
    from pure_cli.models.inputs_check import odd_inputs
    from pure_cli.models.one_image import require_one_image

    names = [name for name in dict.fromkeys(map(module_of, layers)) if name not in network.checked]
    if not names:
        return []
    waiting_for("checking the network on two images")
    one = first_image(listing, network)
    index, other = another_image(listing, network, one) or (None, one.flip(-1))
    notes = [] if network.checked else list(odd_inputs(network.preprocessing, [one, other]))
    note = None
    try:
        note = require_one_image(network.model, network.inputs(one), network.inputs(other), names)
    except NotReached as error:
        if index is not None:  # else it is no image of the user's that does not get there
            raise (error.with_image(listing.place(index)) if error.row else error) from None
    network.checked.update(names)
    return [*notes, note] if note else notes
