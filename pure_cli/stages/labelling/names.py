"""What units are called, where labels of them are up to date."""

from __future__ import annotations

from pure_cli.artifacts import Clustering, Labels, read_labels
from pure_cli.workspace import Store


def names_of(store: Store, layer: str, clustering: Clustering) -> Labels | None:
    """The labels of a layer's neurons, and of the virtual neurons of a clustering; None where there are none, or those
    that there are were made of other virtual neurons."""
    found = read_labels(store).get(layer)
    made = found.provenance.made_from["cluster"] if found else None
    return found if made in ("", clustering.provenance.fingerprint) else None
