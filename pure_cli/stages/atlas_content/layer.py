"""What the page of a layer shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from pure_cli.artifacts import Labels
from pure_cli.artifacts.labels import CHANCE, GIVEN
from pure_cli.stages.atlas_content.inputs import LayerInputs
from pure_cli.stages.atlas_content.measures import UNIT
from pure_cli.stages.atlas_content.near import Space, Unit
from pure_cli.stages.atlas_content.tiles import ICON, ICON_COLUMNS, ICONS
from pure_cli.stages.cluster import classes_of


class LayerContent:
    """The content of a layer, as the page takes it.

    Parameters
    ----------
    inputs : the layer
    neurons : (N,) int64, ascending, that are in the atlas
    spaces : of which maps are drawn
    """

    def __init__(self, inputs: LayerInputs, neurons: np.ndarray, spaces: Sequence[Space]):
        self._inputs, self.neurons, self._spaces = inputs, neurons, spaces
        units = inputs.units(neurons)
        order = np.lexsort((units.part, units.row))
        self.units: list[Unit] = [(int(neuron), int(part)) for neuron, part in units.identity[order]]
        self.labels = [inputs.names.text(*unit) if inputs.names else "" for unit in self.units]

    def content(self, near_by: str) -> dict[str, Any]:
        """JSON-like.

        Parameters
        ----------
        near_by : what says which are near to which
        """
        inputs, own = self._inputs, self._inputs.clustering.provenance.settings
        return {
            "name": inputs.layer,
            "features": own["features"],
            "k": str(own["k"]),
            "lower": own["lower_layer"],
            "n": inputs.sources.collected.layers[inputs.layer].n,
            "crop": inputs.settings.crop,
            "sentences": list(inputs.missing.values()),
            "settings": _settings(inputs),
            "fingerprint": inputs.clustering.provenance.fingerprint,
            "neurons": self._of_neurons(),
            "units": self._of_units(),
            "extra": self._extra(),
            "drives": self._drives(),
            "maps": [self._map(space) for space in self._spaces],
            "icons": {"size": ICON, "columns": ICON_COLUMNS, "perSheet": ICONS} if self.units else None,
            "nearestBy": near_by,
        }

    def _of_neurons(self) -> dict[str, list[Any]]:
        inputs, clustering, names = self._inputs, self._inputs.clustering, self._inputs.names
        layer, row = inputs.sources.collected.layers[inputs.layer], self._rows(self.neurons)
        chosen = clustering.chosen
        return {
            "neuron": self.neurons.tolist(),
            "name": [layer.name_of(neuron) for neuron in self.neurons.tolist()],
            "label": [names.text(neuron) if names else "" for neuron in self.neurons.tolist()],
            "k": clustering.counts(self.neurons).tolist(),
            "silhouette": numbers(clustering.silhouette[row]),
            "polysemanticity": numbers(clustering.polysemanticity[row]) if chosen else [None] * len(row),
            "p": numbers(clustering.p[row]) if chosen else [None] * len(row),
            "tied": layer.tied[self.neurons].tolist(),
            "references": [int(inputs.sources.excites(inputs.layer, c).sum()) for c in self.neurons.tolist()],
        }

    def _of_units(self) -> dict[str, list[Any]]:
        inputs, names = self._inputs, self._inputs.names
        class_index = {name: number for number, name in enumerate(inputs.sources.collected.label_names)}
        judged = [judgement(names, neuron, part) for neuron, part in self.units]
        members = [inputs.members(*unit) for unit in self.units]
        classes = [classes_of(own, inputs.sources.collected) for own in members]
        first = [(one["classes"][0], one["lift"][0]) if one["classes"] else (("", 0), None) for one in classes]
        return {
            "neuron": [neuron for neuron, _ in self.units],
            "part": [part for _, part in self.units],
            "size": [len(own) for own in members],
            "label": self.labels,
            "judged": [one["judged"] for one in judged],
            "auprc": [one["auprc"] for one in judged],
            "chance": [one["chance"] for one in judged],
            "class": [class_index.get(name, -1) for (name, _), _ in first],
            "classCount": [count for (_, count), _ in first],
            "lift": [None if lift is None else short(lift) for _, lift in first],
        }

    def _extra(self) -> list[dict[str, Any]]:
        measures = self._inputs.measures
        found = []
        for column in measures.columns:
            keys: Sequence[Any] = self.units if column.of == UNIT else self.neurons.tolist()
            values = [measures.values[column.title].get(key, np.nan) for key in keys]
            described = {"key": column.title, "title": column.title, "help": column.help, "of": column.of}
            found.append({**described, "values": numbers(values)})
        return found

    def _drives(self) -> list[Any] | None:
        effects = self._inputs.measures.effect
        if not effects:
            return None
        found: list[Any] = []
        for unit in self.units:
            effect = effects.get(unit)
            if effect is None or not np.isfinite(effect).all():
                found.append(None)
            else:
                found.append([self._inputs.output(int(np.argmax(effect))), short(float(np.max(effect)))])
        return found

    def _map(self, space: Space) -> dict[str, Any]:
        points = space.map(self._inputs.sources.store, self._inputs.settings.seed)
        place = {(int(neuron), int(part)): row for row, (neuron, part) in enumerate(space.unit)}
        rows = [place.get(unit) for unit in self.units]
        x, y = ([None if row is None else round(float(points[row, axis]), 4) for row in rows] for axis in (0, 1))
        return {"key": space.key, "title": space.title, "x": x, "y": y}

    def _rows(self, neurons: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._inputs.clustering.neuron, neurons)


def judgement(names: Labels | None, neuron: int, part: int) -> dict[str, Any]:
    """How good the label of a unit is: whether it was judged, its AUPRC, and that by chance."""
    row = names.row_of(neuron, part) if names else None
    if names is None or row is None:
        return {"judged": False, "auprc": None, "chance": None}
    judged = int(names.verdict[row]) in (GIVEN, CHANCE)
    auprc, chance = numbers([names.auprc[row, 0], names.chance[row, 0]])
    return {"judged": judged, "auprc": auprc, "chance": chance}


def _settings(inputs: LayerInputs) -> dict[str, Any]:
    """What the virtual neurons, their labels and references were made with."""
    layer = inputs.sources.collected.layers[inputs.layer]
    found: dict[str, Any] = {"references": layer.provenance.settings}
    found["virtual neurons"] = inputs.clustering.provenance.settings
    if inputs.source.attributed is not None:
        found["relevances"] = inputs.source.attributed.provenance.settings
    if inputs.names:
        found["labels"] = inputs.names.provenance.settings
    if inputs.assignment:
        found["assignment"] = inputs.assignment.provenance.settings
    return {name: without_folders(own) for name, own in found.items()}


def without_folders(settings: Any) -> Any:
    """Settings, JSON-like, with the names of files alone: an atlas is for others, whom folders of its maker tell
    nothing."""
    if isinstance(settings, dict):
        return {key: without_folders(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [without_folders(value) for value in settings]
    is_path = isinstance(settings, str) and PurePath(settings).is_absolute()
    return PurePath(settings).name if is_path else settings


def short(value: float) -> float:
    """A number with as many digits as anybody reads."""
    return float(f"{value:.4g}")


def numbers(values: Any) -> list[float | None]:
    """Numbers for the page; None where there is none."""
    return [short(float(value)) if np.isfinite(value) else None for value in values]
