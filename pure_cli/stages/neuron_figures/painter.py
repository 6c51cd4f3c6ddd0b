"""The figure of a neuron: what is on it, and the network at hand for its heatmaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Clustering, Labels, clustering_path
from pure_cli.data.listing import Listing
from pure_cli.models.spec import parse_model
from pure_cli.settings.render import RenderSettings
from pure_cli.stages.cluster import chosen_by, classes_of
from pure_cli.stages.embeddings.crops import HEATMAPS_SHARE, WHOLE, HeatmapReader
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.inputs.lower_channels import ChannelReader, LowerChannel
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, read_images, require_read
from pure_cli.stages.runtime.network import Network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.words import computed_in, counted

if TYPE_CHECKING:
    from pure_cli.views.neuron import Row


@dataclass(frozen=True)
class FigureJob:
    """One figure.

    Attributes
    ----------
    names : of the neuron and its virtual neurons; None where they were not labelled
    """

    layer: str
    neuron: int
    clustering: Clustering
    look: dict[str, Any]
    channels: ChannelReader
    file: Path
    names: Labels | None = None

    @property
    def entry(self) -> dict[str, Any]:
        """What the figure is made from."""
        own = self.clustering.provenance.settings
        path = clustering_path(self.layer, own["features"], own["k"])
        found = {
            "clustering": path,
            "fingerprint": self.clustering.provenance.fingerprint,
            "look": self.look,
            "channels": self.channels.made_from,
        }
        return found | (self.names.shown_for(self.neuron) if self.names else {})

    def named(self, part: int = -1) -> str:
        """What the neuron is called, or one of its virtual neurons; "" where it was not labelled."""
        return self.names.quoted(self.neuron, part) if self.names else ""


class Painter:
    """Draws figures, with the network at hand for the heatmaps.

    Attributes
    ----------
    misfits : layer to what the rule of its heatmaps does not fit
    notes : what else the user should know
    """

    def __init__(self, sources: Sources, listing: Listing, network: Network, settings: RenderSettings):
        self._sources, self._collected = sources, sources.collected
        self._listing, self._network, self._settings = listing, network, settings
        self.misfits: dict[str, list[str]] = {}
        self.notes: list[str] = []
        self._adaptive_batches = AdaptiveBatches(self.notes)

    def paint(self, job: FigureJob) -> None:
        """Draw one figure and save it."""
        from pure_cli.core.contrast import mixed
        from pure_cli.views.neuron import THUMBNAILS, NeuronPicture, draw
        from pure_cli.views.style import save

        place = int(np.searchsorted(job.clustering.neuron, job.neuron))
        labels, silhouette = job.clustering.label[place], float(job.clustering.silhouette[place])
        references = np.flatnonzero(self._sources.excites(job.layer, job.neuron))
        members = [np.flatnonzero(labels == virtual) for virtual in range(int(labels.max(initial=-1)) + 1)]
        mix = references[mixed(labels[references], self._settings.images)]
        most = max(self._settings.images, THUMBNAILS)
        shown = np.unique(np.concatenate([mix, *(own[:most] for own in members or [references])]))
        crops, masked, whole = self._crops(job, shown)

        apart = job.channels.setting_apart(job.neuron)
        rows = []
        if not members or len(members[0]) < len(references):  # else it is the row of the one virtual neuron
            rows.append(self._row(job, "all", references, mix, None, masked, whole))
        for virtual, own in enumerate(members):
            name, first = f"{job.neuron}.{virtual + 1}", own[: self._settings.images]
            rows.append(self._row(job, name, own, first, virtual, masked, whole, apart[virtual] if apart else []))
        picture = NeuronPicture(
            " · ".join(filter(None, [job.layer, f"neuron {job.neuron}", self._name(job), job.named()])),
            self._subtitle(job),
            self._points(job, references, labels[references], silhouette),
            labels[references],
            [crops.get(int(slot)) for slot in references],
            rows,
            silhouette if np.isfinite(silhouette) else None,
            list(self._sentences(job, place, silhouette, apart)),
        )
        job.file.parent.mkdir(parents=True, exist_ok=True)
        save(draw(picture), job.file)

    def _name(self, job: FigureJob) -> str:
        return self._collected.layers[job.layer].name_of(job.neuron)

    def _points(self, job: FigureJob, references: np.ndarray, labels: np.ndarray, silhouette: float) -> np.ndarray:
        """The references (n, 2) on the map: UMAP, which pulls groups apart, only where the split is clear."""
        from pure_cli.core.clusters import CLEAR
        from pure_cli.core.projection import centroid_axes, project

        source = self._sources.features_of(job.layer, job.clustering.provenance.settings["features"])
        features = next(source.rows(np.array([job.neuron])))[references]
        return project(features, self._settings.seed) if silhouette >= CLEAR else centroid_axes(features, labels)

    def _row(
        self,
        job: FigureJob,
        name: str,
        members: np.ndarray,
        shown: np.ndarray,
        label: int | None,
        masked: dict[int, np.ndarray],
        whole: dict[int, np.ndarray],
        apart: Sequence[LowerChannel] = (),
    ) -> Row:
        """The row of some references, with the first of the lower channels that set them apart."""
        from pure_cli.views.neuron import CHANNEL_IMAGES, CHANNELS, Channel, Row
        from pure_cli.views.virtual_neurons import class_words

        classes = class_words(classes_of(self._collected.layers[job.layer].top.image[job.neuron][members],
                                         self._collected))  # fmt: skip
        layers = list(dict.fromkeys(one.layer for one in apart))
        channels = []
        for one in apart[:CHANNELS]:
            number = str(one.channel) if len(layers) == 1 else one.address
            images = self._decoded(job.channels.images_of(one, CHANNEL_IMAGES))
            channels.append(Channel(f"{number} · {100 * one.share:.0f} %", images))
        return Row(
            name,
            " · ".join(
                filter(None, ["" if label is None else job.named(label), counted(len(members), "image"), classes])
            ),
            [masked[int(slot)] for slot in shown],
            label,
            [whole[int(slot)] for slot in shown] if self._settings.crop != WHOLE else [],
            f"more from {layers[0]}:" if len(layers) == 1 else "more from:",
            channels,
        )

    def _sentences(
        self, job: FigureJob, place: int, silhouette: float, apart: list[list[LowerChannel]] | None
    ) -> Iterator[str]:
        """What is said of the split and of the figure."""
        from pure_cli.core.clusters import CLEAR
        from pure_cli.views.verdicts import verdict

        split = bool((job.clustering.label[place] >= 0).any())
        k = job.clustering.provenance.settings["k"]
        if told := verdict(silhouette, split, k, chosen_by(job.clustering, place)):
            yield told
        if np.isfinite(silhouette):
            yield (
                "Map: UMAP."
                if silhouette >= CLEAR
                else "Map: a plain projection through the centroids; regions are as faint as the split is weak."
            )
        elif split:
            yield "Map: a plain projection."
        if apart is None:
            yield "Lower channels are left out: there are no relevances of these references."
            self.notes.append(
                f"Figures of '{job.layer}' leave out lower channels: attribute.h5 has no relevances of some neurons."
            )
        for lower in dict.fromkeys(one.layer for of_one in apart or () for one in of_one):
            where = "all images" if job.channels.has_own_references(lower) else f"the references of {job.layer}"
            yield (
                f"More from {lower}: channels with more relevance than in siblings, their part of what differs, and "
                f"where among {where} each is strongest."
            )

    def _decoded(self, index: np.ndarray) -> list[np.ndarray]:
        """Some images (H, W, 3), as the network sees them."""
        found = read_images(self._network, self._listing, index) if len(index) else ()
        return [image.permute(1, 2, 0).numpy() for image in found]

    def _subtitle(self, job: FigureJob) -> str:
        own, row = job.clustering.provenance.settings, int(np.searchsorted(job.clustering.neuron, job.neuron))
        where = f" at {own['lower_layer']}" if own["lower_layer"] else ""
        k = f"{own['k']}: {int(job.clustering.k[row])}" if job.clustering.chosen else own["k"]
        heatmaps = {} if self._settings.crop == WHOLE else {"heatmaps": self._settings.precision}
        rough = computed_in(self._sources.precisions(job.layer, own["features"], **heatmaps))
        model = parse_model(self._collected.origin["model"]).short
        return " · ".join(filter(None, [model, f"{own['features']} features{where}", f"k = {k}", rough]))

    def _crops(self, job: FigureJob, slots: np.ndarray) -> tuple[dict[int, np.ndarray], ...]:
        """For some references, what the neuron saw of each: the crop, the crop with the rest darkened, and the whole
        image."""
        from pure_cli.core import crops as cut

        layer = self._collected.layers[job.layer]
        top, tokens = layer.top, len(layer.shape) == 2  # which may have seen no more than a patch
        images = top.image[job.neuron, slots]
        crops, masked, whole = {}, {}, {}
        for slot, image, heatmap in self._heatmaps(job, slots, images, top.position[job.neuron, slots]):
            whole[slot] = image.permute(1, 2, 0).numpy()
            if heatmap is None:
                crops[slot] = masked[slot] = whole[slot]
                continue
            seen = cut.seen(cut.blurred(heatmap[None]))[0]
            box = cut.box(seen)
            if tokens:
                box = cut.with_context(box, *seen.shape)
            crops[slot], masked[slot] = cut.cropped(image, box), cut.masked(image, seen, box)
        return crops, masked, whole

    def _heatmaps(
        self, job: FigureJob, slots: np.ndarray, images: np.ndarray, positions: np.ndarray
    ) -> Iterator[tuple[int, Any, Any]]:
        """For each of some references: its slot, the image (3, H, W), and the heatmap (H, W) where it is wanted."""
        from pure_cli.data.loader import batches

        network, example = self._network, first_image(self._listing, self._network)
        height, width = example.shape[-2:]
        batch_size = network.batch_size(self._settings.batch_size, height, width, HEATMAPS_SHARE)
        heatmaps: Any = nullcontext()
        if self._settings.crop != WHOLE:
            self.notes += require_sound(network, self._listing, [job.layer])
            heatmaps = HeatmapReader(network, job.layer, self._settings.crop, example)
            if job.layer not in self.misfits:
                self.misfits[job.layer] = heatmaps.misfits()
        done = 0
        with heatmaps:
            for batch in batches(self._listing, images, network.preprocessing, batch_size, 0):
                require_read(self._listing, batch)
                count = len(batch.index)
                maps: list[Any] = [None] * count

                def compute(
                    begin: int, end: int, images: Any = batch.images, done: int = done, maps: Any = maps
                ) -> None:
                    heatmaps.look_at(images[begin:end])
                    neuron = np.full(end - begin, job.neuron)
                    maps[begin:end] = heatmaps.maps(neuron, positions[done + begin : done + end], last=True).cpu()

                if self._settings.crop != WHOLE:
                    self._adaptive_batches.each(count, compute)
                yield from zip(slots[done : done + count].tolist(), batch.images, maps, strict=True)
                done += count
