"""Frozen units with known meanings: the file of a track of ``pure benchmark``."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pure_cli.core.directions import Directions
from pure_cli.errors import PureError
from pure_cli.files import disk_errors, read_archive, write_whole

FORMAT = 1  # of the file
ENDING = ".npz"
ABOUT = "about"  # the array of the file with everything that is no number, as JSON
ARRAYS = ("image", "label", "reference", "truth", "half", "relu", "bias")
WEIGHT = "weight"  # / MODULE, the directions in a module


@dataclass(frozen=True)
class Track:
    """Units with known meanings, with all that makes them the same units everywhere.

    Attributes
    ----------
    name : of the track
    model : what `pure collect --model` takes; "" where that is a file of the user's
    network : what the network is called
    state : hash of its weights, as of `pure_cli.models.weights.state_fingerprint`
    preprocessing : as of `Preprocessing.as_dict`
    layer : that the units are of
    paper, hidden : lower layers of the paper's recipe, and of circuits through the hidden layer; "" where there is none
    kind : of each of U units, any word
    module : of each, whose output it is a direction over
    parts : of each, what its meanings are made of, such as classes or channels; units that share one are no two
        observations
    seeds : with which a method is called
    image : (I,) uint64, of the images, as of `pure_cli.data.content.pixel_digests`
    label : (I,) int, their classes; -1 where there is none
    reference : (U, n) int, places in `image`, the highest activation first
    truth : (U, n) int, the meaning of each reference, of any values; -1 counts for nothing
    half : (U,) int, on which half of the images its references are; the unit was made on the other
    weights : module to (M, C) float32, the directions of its units in their order
    bias, relu : (U,) float32 and bool, of the directions
    branch : unit to the branch of each of its parts, of units whose meanings form a tree; close ones share one
    """

    name: str
    model: str
    network: str
    state: str
    preprocessing: dict[str, Any]
    layer: str
    paper: str
    hidden: str
    kind: list[str]
    module: list[str]
    parts: list[tuple[int, ...]]
    seeds: list[int]
    image: np.ndarray
    label: np.ndarray
    reference: np.ndarray
    truth: np.ndarray
    half: np.ndarray
    weights: Mapping[str, np.ndarray]
    bias: np.ndarray
    relu: np.ndarray
    branch: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def count(self) -> np.ndarray:
        """(U,) meanings of each unit."""
        return np.array([len(part) for part in self.parts])

    @cached_property
    def _place(self) -> list[int]:
        """Of each unit among those of its module."""
        seen: dict[str, int] = {}
        found = []
        for module in self.module:
            found.append(seen.setdefault(module, 0))
            seen[module] += 1
        return found

    def direction(self, unit: int) -> Directions:
        """The direction that a unit is."""
        weight = self.weights[self.module[unit]][self._place[unit]]
        return Directions(weight[None], self.bias[unit : unit + 1], bool(self.relu[unit]))

    @property
    def _about(self) -> dict[str, Any]:
        texts = ("name", "model", "network", "state", "preprocessing", "layer", "paper", "hidden", "kind", "module")
        own = {name: getattr(self, name) for name in texts}
        branch = {str(unit): of_parts for unit, of_parts in self.branch.items()}
        return {**own, "parts": self.parts, "seeds": self.seeds, "branch": branch, "format": FORMAT}

    @property
    def _arrays(self) -> dict[str, np.ndarray]:
        weights = {f"{WEIGHT}/{module}": values for module, values in self.weights.items()}
        return {ABOUT: np.array(json.dumps(self._about)), **{name: getattr(self, name) for name in ARRAYS}, **weights}

    @cached_property
    def version(self) -> str:
        """Eight letters that change with anything of the track."""
        digest = sha256()
        for name, values in sorted(self._arrays.items()):
            digest.update(f"{name} {values.dtype} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:8]


def write_track(path: Path, track: Track) -> None:
    """Write a track: the same bytes for the same track, wherever the same library compresses them.

    Raises
    ------
    PureFailure
        The file cannot be written.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **track._arrays)  # type: ignore[arg-type]  # of names, as its signature has it
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def read_track(path: Path) -> Track:
    """Read a track.

    Raises
    ------
    PureError
        It is no such file, or of a later version of pure.
    """
    try:
        arrays = read_archive(path)
        about = json.loads(str(arrays[ABOUT]))
        newer = about.pop("format") > FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        raise PureError(
            f"{path} is no track. Give the name of one, or a file that `pure freeze` has written."
        ) from None
    if newer:
        raise PureError(f"{path} was written by a later version of pure. Install that one.")
    weights = {name.partition("/")[2]: values for name, values in arrays.items() if name.startswith(f"{WEIGHT}/")}
    about["parts"] = [tuple(part) for part in about["parts"]]
    about["branch"] = {int(unit): tuple(of_parts) for unit, of_parts in about["branch"].items()}
    every: dict[str, Any] = {**about, **{name: arrays[name] for name in ARRAYS}, "weights": weights}
    return Track(**every)
