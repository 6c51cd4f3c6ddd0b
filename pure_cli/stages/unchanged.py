"""Whether what results were made from is still what it was, and what that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pure_cli.artifacts import Collected
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.models.spec import parse_model, source_fingerprint, weights_fingerprint
from pure_cli.stages.common import images_of
from pure_cli.workspace import Store

COMPONENTS = {
    "model": "the model",
    "weights": "the weights",
    "seed": "the seed of the initialisation",
    "data": "the images",
    "preprocessing": "the preprocessing",
    "n": "the number of references (n)",
    "score": "the score (--by, --pool, --rule, --target)",
    "collect": "the references",
    "attribute": "the relevances",
    "embed": "the embeddings",
}


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, what differs between what something was made from and what it would be made from now."""
    names = [name for name in COMPONENTS if then.get(name) != now.get(name)]
    inputs = [name for name in names if name not in ("collect", "attribute", "embed")]
    return [COMPONENTS[name] for name in inputs or names]


def origin_now(origin: Mapping[str, Any], listing: Listing) -> dict[str, Any]:
    """What references would be made from now, with the model and the options that made those in the workspace."""
    return {
        "model": source_fingerprint(parse_model(origin["model"])),
        "weights": weights_fingerprint(origin["weights"]),
        "seed": origin["seed"],
        "data": listing.fingerprint,
        "preprocessing": origin["requested"],
    }


def require_unchanged(store: Store, collected: Collected, layers: list[str]) -> Listing:
    """Make sure that model, weights and images are those of the references; return the images.

    Raises
    ------
    PureError
        Something changed, or is gone.
    """
    listing = images_of(store, collected.origin["data"], collected.origin["limit"])
    now = origin_now(collected.origin, listing)
    for layer in layers:
        differing = changes({**collected.layers[layer].made_from, "n": None}, {**now, "n": None})
        if differing:
            raise PureError(
                f"The references of '{layer}' are stale: {' and '.join(differing)} changed since they were collected. "
                "Run `pure collect` again."
            )
    return listing


def lineage(layer: Any, stage: str, **more: Any) -> dict[str, Any]:
    """What something made from `layer` of an earlier `stage` was made from, all the way up."""
    return {**layer.made_from, **more, stage: layer.fingerprint}
