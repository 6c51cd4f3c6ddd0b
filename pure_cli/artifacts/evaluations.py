"""Per-neuron values of the metrics: the file ``evaluate.h5``."""

from collections.abc import Mapping

import h5py
import numpy as np

from pure_cli.provenance import Provenance
from pure_cli.workspace import Store, read_provenance, write_array, write_provenance


def read_evaluations(store: Store) -> dict[str, Provenance]:
    """What the values of each metric depend on, by ``METRIC/LAYER/RUN``; nothing where there is no file."""
    if not store.has("evaluate"):
        return {}
    with store.read("evaluate") as file:
        return _evaluations(file)


def read_evaluation_values(store: Store, key: str) -> dict[str, np.ndarray]:
    """The values of one metric by their path in its group, ``METRIC/LAYER/RUN``."""
    found: dict[str, np.ndarray] = {}

    def add(path: str, node: h5py.Dataset | h5py.Group) -> None:
        if isinstance(node, h5py.Dataset):
            found[path] = node[()]

    with store.read("evaluate") as file:
        file[key].visititems(add)
    return found


def write_evaluation(
    store: Store,
    key: str,
    arrays: Mapping[str, np.ndarray],
    provenance: Provenance,
    anew: bool = False,
) -> None:
    """Write the file again with the values of one metric in it; the others stay.

    Parameters
    ----------
    key : ``METRIC/LAYER/RUN``
    arrays : path in its group to values
    anew : where the file cannot be read, do without what it held
    """

    def write(file: h5py.File, old: h5py.File | None) -> None:
        others = {} if old is None else _evaluations(old)
        others.pop(key, None)
        for other in others:
            old.copy(other, file.require_group(other.rpartition("/")[0]))  # type: ignore[union-attr]
        group = file.create_group(key)
        for path, values in arrays.items():
            write_array(group, path, values)
        write_provenance(group, provenance)
        prints = {other: there.fingerprint for other, there in {**others, key: provenance}.items()}
        write_provenance(file, Provenance({}, prints))

    store.rewrite("evaluate", write, anew)


def _evaluations(file: h5py.File) -> dict[str, Provenance]:
    return {
        f"{metric}/{layer}/{run}": read_provenance(group)
        for metric, layers in file.items()
        for layer, runs in layers.items()
        for run, group in runs.items()
        if "fingerprint" in group.attrs
    }
