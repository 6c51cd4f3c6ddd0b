"""What calibrate found to work best on a layer: the file ``calibration.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pure_cli.artifacts.by_layer import read_by_layer, write_by_layer
from pure_cli.errors import PureError, UnreadableFile
from pure_cli.workspace import Store

FILE = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """The recipe of a layer.

    Attributes
    ----------
    features : kind of features, with its lower layers in its name
    lower_layers : that it needs
    rule : by which k is chosen, of `pure_cli.core.meanings`
    threshold : polysemanticity up to which a neuron has one meaning
    judge : "truth", units with a known answer, or "proxy" where no image has a label
    scores : what was measured of it, JSON-like
    made_from : model, weights, images and preprocessing, JSON-like
    circuits : the best kind of features by relevance, which may not be the best of all
    """

    features: str
    lower_layers: list[str]
    rule: str
    threshold: float
    judge: str
    scores: dict[str, Any] = field(default_factory=dict)
    made_from: dict[str, Any] = field(default_factory=dict)
    circuits: str = ""

    def __post_init__(self) -> None:
        texts = [self.features, self.rule, self.judge, self.circuits, *self.lower_layers]
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.threshold, int | float):
            raise TypeError("not the types of a calibration")

    def is_of(self, made_from: Mapping[str, Any]) -> bool:
        """Whether it was found on what something else was made from."""
        return all(made_from.get(name) == value for name, value in self.made_from.items())


def read_calibrations(store: Store) -> dict[str, Calibration]:
    """By layer; none where there is no file.

    Raises
    ------
    UnreadableFile
        It is no such file.
    """
    return read_by_layer(store.root / FILE, Calibration, "`pure calibrate --force`")


def write_calibration(store: Store, layer: str, calibration: Calibration) -> None:
    """Beside those of other layers; a file that cannot be read is replaced."""
    try:
        there = read_calibrations(store)
    except UnreadableFile:
        there = {}
    write_by_layer(store.root / FILE, {**there, layer: calibration})


def need_calibration(store: Store, layer: str, made_from: Mapping[str, Any]) -> Calibration:
    """The calibration of a layer of a model.

    Parameters
    ----------
    made_from : of the references that it is for

    Raises
    ------
    PureError
        There is none, or it is of other weights or images.
    """
    found = read_calibrations(store).get(layer)
    if found is None:
        raise PureError(f"'{layer}' is not calibrated in this workspace. Run `pure calibrate --layer {layer}` first.")
    if not found.is_of(made_from):
        raise PureError(
            f"'{layer}' was calibrated on other weights, images or preprocessing. "
            f"Run `pure calibrate --layer {layer}` again."
        )
    return found
