"""A layer whose neurons saturate: references by what it gives, as before, and by what goes into its nonlinearity.

python tests/benchmarks/saturation.py WORKSPACE OUT.png

WORKSPACE holds references of one layer with ``ranked_by``, made by `pure collect`. The images are run through the
network once more, and ranked by the layer's output with equal scores in the order of the listing.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from pure_cli.artifacts import read_collected
from pure_cli.core.circuits import Firing, activations
from pure_cli.core.layout import channels_first
from pure_cli.data.loader import batches
from pure_cli.stages.runtime.images import first_image, images_at_once, images_of
from pure_cli.stages.runtime.network import open_network
from pure_cli.views.style import PALETTE, STYLE
from pure_cli.workspace import Store


def by_output(store: Store, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Maxima over space (N, C) of what the layer gives, and the numbers of the images."""
    collected = read_collected(store)
    network, listing = open_network(collected, "cpu"), images_of(store, collected.origin["data"])
    example = first_image(listing, network)
    bound, ready = network.bound_of(layer, example), network.ready(example, [layer])
    highest, index = [], []
    for batch in batches(listing, listing.index, network.preprocessing, images_at_once(listing, network, None), 2):
        z = activations(ready.model, ready.inputs(batch.images), [layer], bounds={layer: bound})[layer]
        highest.append(channels_first(Firing.of(z, bound=bound).activation).amax(dim=-1).numpy())
        index.append(batch.index)
    return np.concatenate(highest), np.concatenate(index)


def main(workspace: str, picture: str) -> None:
    store = Store(Path(workspace))
    (layer, own), *_ = read_collected(store).layers.items()
    n = own.top.image.shape[1]
    highest, index = by_output(store, layer)
    order = np.lexsort((np.broadcast_to(index, highest.T.shape), -highest.T), axis=1)[:, :n]
    before, values = index[order], np.take_along_axis(highest.T, order, axis=1)
    total = len(index)
    tied_before = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > 0)).any(axis=1)
    all_equal = (values == values[:, :1]).all(axis=1)
    figures = {
        "layer": layer,
        "ranked by": own.settings["ranked_by"],
        "images": total,
        "neurons": len(values),
        "before: neurons with ties": float(tied_before.mean()),
        "before: neurons whose references are all equal": float(all_equal.mean()),
        "before: median number of a reference in the listing": float(np.median(before)),
        "after: neurons with ties": float((own.tied > 0).mean()),
        "after: references with ties": float(own.tied.sum() / (own.top.value > own.fires_above).sum()),
        "after: median number of a reference in the listing": float(np.median(own.top.image)),
        "references in common": float(
            np.mean([np.isin(a, b).mean() for a, b in zip(before, own.top.image, strict=True)])
        ),
    }
    print(json.dumps(figures, indent=2))
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), constrained_layout=True)
        kinds = (("by the output", before), ("by what goes in", own.top.image))
        for (name, images), colour in zip(kinds, PALETTE, strict=False):
            left.hist(
                images.ravel() / total, bins=50, range=(0, 1), density=True, histtype="step", label=name, color=colour
            )
        left.axhline(1, color="0.7", lw=0.8, ls=":")
        left.set(xlabel="place in the listing (its order is that of the classes)", ylabel="references, density")
        left.legend(frameon=False)
        rows = [100 * tied_before.mean(), 100 * (own.tied > 0).mean()]
        bars = right.bar(["by the output", "by what goes in"], rows, color=PALETTE[:2])
        right.bar_label(bars, fmt="%.1f %%")
        right.set(ylabel="neurons with equal scores\namong their references, %", ylim=(0, 110))
        figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main(*sys.argv[1:])
