"""The bands of collect: which references in them a run is about, and how they are cut from its sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pure_cli.artifacts import CollectedLayer
from pure_cli.core.bands import Band, bands, cut, sample_size
from pure_cli.core.references import TopImages
from pure_cli.provenance import Provenance
from pure_cli.settings.collect import CollectSettings


@dataclass(frozen=True)
class RequestedBands:
    """The bands that a run of collect is about; none where ``--quantiles`` is not there.

    Attributes
    ----------
    n : references of a neuron in each
    edges : percentiles between which they lie
    seed : of the sample that they are cut from
    """

    n: int
    edges: list[float]
    seed: int

    @classmethod
    def of(cls, settings: CollectSettings) -> RequestedBands:
        return cls(settings.references, settings.edges, settings.seed)

    def __iter__(self) -> Iterator[Band]:
        return iter(bands(self.edges))

    @property
    def key(self) -> list[Any]:
        """What a pass depends on for them; nothing where there are none."""
        return [self.sample] if self.edges else []

    @property
    def sample(self) -> dict[str, int]:
        """What they are cut from."""
        return {"images": sample_size(self.n, self.edges), "seed": self.seed}

    def settings(self, band: Band) -> dict[str, Any]:
        """What the references in a band depend on, beside those of their layer."""
        return {"band": [band.low, band.high], "sample": self.sample}

    def layers(self, name: str, layer: CollectedLayer, sample: TopImages) -> Iterator[tuple[str, CollectedLayer]]:
        """The references of a layer in each band, by their names.

        Parameters
        ----------
        sample : of the images that excite each neuron
        """
        for band in self:
            top, edges = cut(sample, band, self.n)
            own = {**layer.provenance.settings, "layer": band.of(name), **self.settings(band)}
            provenance = Provenance(own, layer.provenance.made_from)
            yield band.of(name), replace(layer, top=top, edges=edges, provenance=provenance)

    def are_there(self, name: str, valid: Callable[[str], CollectedLayer | None]) -> bool:
        """Whether all bands of a layer are, as they would be made now."""
        there = {band: valid(band.of(name)) for band in self}
        return all(own is not None and _is_of(own, self.settings(band)) for band, own in there.items())


def _is_of(layer: CollectedLayer, settings: dict[str, Any]) -> bool:
    own = layer.provenance.settings
    return all(own.get(name) == value for name, value in settings.items())
