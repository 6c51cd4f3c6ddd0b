"""The files of a layer: what it lacks is made, neuron by neuron."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from pure_cli.config import fingerprint
from pure_cli.data.loader import default_workers
from pure_cli.stages.atlas_content.folder import AtlasFolder
from pure_cli.stages.atlas_content.inputs import LayerInputs
from pure_cli.stages.atlas_content.layer import LayerContent
from pure_cli.stages.atlas_content.near import Space, spaces
from pure_cli.stages.atlas_content.neuron import NeuronContent
from pure_cli.stages.atlas_content.site import layer_entry
from pure_cli.stages.atlas_content.tiles import ICONS, SIZES, TileJob, icon_sheet, part_icons, sheets

SAVED = 64  # neurons after which the index is written
SHEETS = "sheets"


class LayerPages:
    """The files of one layer of an atlas.

    Parameters
    ----------
    inputs : the layer
    folder : of the atlas
    """

    def __init__(self, inputs: LayerInputs, folder: AtlasFolder):
        self.inputs, self._folder = inputs, folder
        self._made = inputs.made_from

    @cached_property
    def neurons(self) -> np.ndarray:
        """(N,) int64, those that were asked for and those that the atlas has."""
        there = np.array(self._folder.neurons(self.inputs.layer), np.int64)
        return np.union1d(self.inputs.chosen(), there[np.isin(there, self.inputs.clustering.neuron)])

    @cached_property
    def stale(self) -> bool:
        """Something of it is not there, or not as it would be made now."""
        layer, there = self.inputs.layer, self._folder.neurons(self.inputs.layer)
        if self.inputs.settings.force or there != self.neurons.tolist():
            return True
        entries = (self._folder.entry(layer, neuron) for neuron in there)
        return not self._folder.layer_is(layer, self._made) or any(e.get("made") != self._made for e in entries)

    @property
    def images(self) -> int:
        """References of the neurons, of which each counts once as `build` goes on."""
        return self.inputs.sources.pairs(self.inputs.layer, self.neurons)

    def build(self) -> Iterator[int]:
        """Make what is not there; yields how many references are done each time."""
        layer, found = self.inputs.layer, list(spaces(self.inputs))
        self._folder.drop(layer, np.setdiff1d(self._folder.neurons(layer), self.neurons).tolist())
        content = NeuronContent(self.inputs, found[0].nearest(self.neurons) if found else {})
        icons: dict[tuple[int, int], Any] = {}
        jobs: list[tuple[TileJob, dict[str, Any], str]] = []
        for neuron, box in zip(self.neurons.tolist(), self.inputs.boxes(self.neurons), strict=True):
            own, job = content.content(neuron, box)
            tiles = self._tiles(job)
            entry = {} if self.inputs.settings.force else self._folder.entry(layer, neuron)
            if entry.get("tiles") == tiles and (there := self._sheets(neuron)):
                self._keep(neuron, own, there, tiles, icons)
                yield self._references(neuron)
            else:
                jobs.append((job, own, tiles))
        yield from self._new(jobs, icons)
        self._write_layer(found, icons)

    def _new(self, jobs: list[tuple[TileJob, dict[str, Any], str]], icons: dict[tuple[int, int], Any]) -> Iterator[int]:
        """Neurons whose images are decoded."""
        inputs, workers = self.inputs, self.inputs.settings.workers
        size, workers = SIZES[inputs.settings.size], default_workers() if workers is None else workers
        made = sheets([job for job, _, _ in jobs], inputs.listing, inputs.sources.preprocessing, size, workers)
        for done, ((job, own, tiles), (_, found)) in enumerate(zip(jobs, made, strict=True), 1):
            self._keep(job.neuron, own, found, tiles, icons)
            if done % SAVED == 0:
                self._folder.save()
            yield self._references(job.neuron)

    def _references(self, neuron: int) -> int:
        return self.inputs.sources.pairs(self.inputs.layer, np.array([neuron]))

    def _keep(
        self, neuron: int, content: dict[str, Any], found: dict[str, Any], tiles: str, icons: dict[tuple[int, int], Any]
    ) -> None:
        """Write the file of a neuron, and cut the icons of its virtual neurons out of its sheet."""
        from pure_cli.views.atlas.page import chunk

        layer = self.inputs.layer
        text = chunk(f"neuron:{layer}/{neuron}", {**content, SHEETS: found})
        self._folder.add_neuron(layer, neuron, text, made=self._made, tiles=tiles)
        icons.update({(neuron, part): one for part, one in part_icons(content, found).items()})

    def _tiles(self, job: TileJob) -> str:
        """What the sheets of a neuron are made from."""
        own = self.inputs.sources.collected.layers[self.inputs.layer].provenance.fingerprint
        box = None if job.box is None else job.box.tolist()
        return fingerprint([own, job.image.tolist(), box, SIZES[self.inputs.settings.size]])

    def _sheets(self, neuron: int) -> dict[str, Any] | None:
        """Those of the file of a neuron, as it is."""
        from pure_cli.views.atlas.page import content_of

        file = self._folder.root / self._folder.neuron_file(self.inputs.layer, neuron)
        with suppress(OSError, ValueError, LookupError):
            found: dict[str, Any] = content_of(file.read_text(encoding="utf-8"))[SHEETS]
            return found
        return None

    def _write_layer(self, found: list[Space], icons: dict[tuple[int, int], Any]) -> None:
        from pure_cli.views.atlas.page import chunk

        inputs, layer = self.inputs, self.inputs.layer
        content = LayerContent(inputs, self.neurons, found)
        own = content.content(found[0].title if found else "")
        files = {self._folder.layer_file(layer): chunk(f"layer:{layer}", own)}
        for number, start in enumerate(range(0, len(content.units), ICONS)):
            pictures = [icons[unit] for unit in content.units[start : start + ICONS]]
            one = icon_sheet(pictures, SIZES[inputs.settings.size])
            files[self._folder.icons_file(layer, number)] = chunk(f"icons:{layer}:{number}", one)
        about = layer_entry(inputs, content, self._folder.slug(layer))
        self._folder.add_layer(layer, files, self._made, about)
        self._folder.save()
