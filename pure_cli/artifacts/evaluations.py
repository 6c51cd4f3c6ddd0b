"""Per-neuron values of the metrics: the file ``evaluate.h5``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from pure_cli.workspace import Store, made_from, result_fingerprint, settings_of, stamp, write_array


@dataclass(frozen=True)
class Evaluation:
    """What is there of one metric, without the values themselves."""

    settings: dict[str, Any]
    made_from: dict[str, Any]
    fingerprint: str


def read_evaluations(store: Store) -> dict[str, Evaluation]:
    """What the file holds, by ``METRIC/LAYER/RUN``; nothing where there is no file."""
    if not store.has("evaluate"):
        return {}
    with store.read("evaluate") as file:
        return _evaluations(file)


def write_evaluation(
    store: Store,
    key: str,
    arrays: Mapping[str, np.ndarray],
    settings: dict[str, Any],
    lineage: dict[str, Any],
    anew: bool = False,
) -> Evaluation:
    """Write the file again with the values of one metric in it; the others stay.

    Parameters
    ----------
    key : ``METRIC/LAYER/RUN``
    arrays : path in its group to values
    settings, lineage : what the values depend on
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
        own = stamp(group, settings, lineage)
        stamp(file, {}, {**{other: there.fingerprint for other, there in others.items()}, key: own})

    store.rewrite("evaluate", write, anew)
    return Evaluation(settings, lineage, result_fingerprint(settings, lineage))


def _evaluations(file: h5py.File) -> dict[str, Evaluation]:
    return {
        f"{metric}/{layer}/{run}": Evaluation(settings_of(group), made_from(group), group.attrs["fingerprint"])
        for metric, layers in file.items()
        for layer, runs in layers.items()
        for run, group in runs.items()
        if "fingerprint" in group.attrs
    }
