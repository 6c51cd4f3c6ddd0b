"""What units are called, where labels of them are up to date."""

from __future__ import annotations

from pure_cli.artifacts import Clustering, Labels, read_labels
from pure_cli.workspace import Store


def names_of(store: Store, layer: str, clustering: Clustering | None) -> Labels | None:
    """The labels of a layer's neurons, and of the virtual neurons of a clustering; None where there are none, or those
    that there are were made of other virtual neurons.

    Parameters
    ----------
    clustering : None where neurons alone are asked for
    """
    found = read_labels(store).get(layer)
    if found is None or clustering is None:
        return found
    return found if found.provenance.made_from["cluster"] in ("", clustering.provenance.fingerprint) else None
