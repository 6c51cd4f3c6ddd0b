"""What drives classes: the file ``audit.h5``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pure_cli.provenance import Provenance
from pure_cli.workspace import Store, read_provenance, read_texts, write_array, write_provenance, write_texts

FILE = "audit"


@dataclass(frozen=True, eq=False)
class Audit:
    """What drives a class.

    Attributes
    ----------
    name, number : of the class
    layers : that were looked at
    images : (2,) int64, of the class and of all others, on which was measured
    right : (2,) float64, shares of them that the network gets right; NaN where there are none
    unit : (U, 3) int64, place in `layers`, neuron and virtual neuron, counted from 0, the largest effect first
    first_order : (U,) float64, by which they were chosen, on other images of the class
    effect, error : (U,) float64, the mean fall of the class's output, against the mean of all outputs, and its standard
        error, NaN for a single image
    share : (U,) float64, of the neuron's activation on the images of the class
    inside : (U,) float64, share of the unit's activation over the data that is on images of the class; NaN where there
        are no others
    after : (U, 2) float64, as `right`, without the unit
    random : (R, 3) int64, units drawn at random
    random_effect : (R,) float64
    random_after : (R, 2) float64
    steps : (S,) int64, ascending, how many of the first units whose effect is clear were silenced together
    together, random_together : (S, 2) float64, as `right`, without so many of these, or of `random`
    notes : sentences
    """

    name: str
    number: int
    layers: list[str]
    images: np.ndarray
    right: np.ndarray
    unit: np.ndarray
    first_order: np.ndarray
    effect: np.ndarray
    error: np.ndarray
    share: np.ndarray
    inside: np.ndarray
    after: np.ndarray
    random: np.ndarray
    random_effect: np.ndarray
    random_after: np.ndarray
    steps: np.ndarray
    together: np.ndarray
    random_together: np.ndarray
    notes: list[str]
    provenance: Provenance


ARRAYS = (
    "images", "right", "unit", "first_order", "effect", "error", "share", "inside", "after", "random", "random_effect",
    "random_after", "steps", "together", "random_together",
)  # fmt: skip


def read_audits(store: Store) -> dict[int, Audit]:
    """By number of the class, ascending; none where there is no file."""
    if not store.has(FILE):
        return {}
    found = {}
    with store.read(FILE) as file:
        for number, group in file["classes"].items():
            about = json.loads(read_texts(group["about"])[0])
            arrays = {name: group[name][:] for name in ARRAYS}
            found[int(number)] = Audit(**about, number=int(number), **arrays, provenance=read_provenance(group))
    return dict(sorted(found.items()))


def write_audits(store: Store, audits: Mapping[int, Audit]) -> None:
    with store.replace(FILE) as file:
        for number, one in audits.items():
            group = file.create_group(f"classes/{number}")
            for name in ARRAYS:
                write_array(group, name, getattr(one, name))
            write_texts(group, "about", [json.dumps({"name": one.name, "layers": one.layers, "notes": one.notes})])
            write_provenance(group, one.provenance)
        prints = {str(number): one.provenance.fingerprint for number, one in audits.items()}
        write_provenance(file, Provenance({}, prints))
