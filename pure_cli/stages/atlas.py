"""atlas: a folder with a page on which one walks through layers, from the disk and without a network."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from pure_cli.artifacts import need_clusterings, need_layers
from pure_cli.config import fingerprint
from pure_cli.hub.names import AT, MARK
from pure_cli.settings.atlas import AtlasSettings
from pure_cli.settings.embed import EmbedSettings
from pure_cli.stages.atlas_content.folder import PAGE, AtlasFolder
from pure_cli.stages.atlas_content.inputs import open_layer
from pure_cli.stages.atlas_content.layer_pages import LayerPages
from pure_cli.stages.atlas_content.site import site
from pure_cli.stages.auditing.cards import audits
from pure_cli.stages.embeddings.crops import CRP, WHOLE, CropJob, compute_boxes, crop_task, missing_boxes
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.runtime.network import open_network
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

FOLDER = "atlas"  # in the workspace
INLINE = 8  # neurons that a notebook is shown at once


@dataclass(repr=False)
class AtlasOutcome(Outcome):
    """What `atlas` did; a notebook shows the neurons that were named.

    Attributes
    ----------
    shown : layer to the neurons that were named
    """

    store: Store | None = None
    shown: dict[str, list[int]] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """A line, and the panes of up to eight neurons."""
        from pure_cli.stages.atlas_content.inline import inline

        told = super()._repr_html_()
        for layer, neurons in self.shown.items() if self.store else ():
            assert self.store is not None
            told += inline(self.store, layer, neurons[:INLINE], f"{layer}/{neurons[0]}")
        return told


def atlas(store: Store, settings: AtlasSettings, progress: Progress = silent) -> Outcome:
    """Make what of the atlas is not there yet, and write its page.

    Raises
    ------
    PureError
        No virtual neurons, stale ones, unknown layer or neuron; the folder is no atlas, or one of another network.
    """
    begin = time.perf_counter()
    sources, clusterings = Sources(store), need_clusterings(store)
    clustered = {path.split("/")[1]: None for path in clusterings}
    layers = need_layers(settings.layer, clustered, "cluster", bands_too=False)
    folder = AtlasFolder(settings.out or store.root / FOLDER, _network(sources), settings.force)
    folder.crop = settings.crop or folder.crop or CRP
    settings = settings.model_copy(update={"crop": folder.crop})
    pages = [LayerPages(open_layer(sources, layer, clusterings, settings), folder) for layer in layers]
    todo = [one for one in pages if one.stale]
    outcome = AtlasOutcome("atlas", layers, sum(len(one.neurons) for one in todo), "neurons", store=store)
    if settings.neurons is not None:
        outcome.shown = {one.inputs.layer: one.inputs.chosen().tolist() for one in pages}
    if todo:
        _find_boxes(todo, sources, settings, outcome, progress)
        total, done = sum(one.images for one in todo), 0
        waiting_for("reading what there is")
        for one in todo:
            for images in one.build():
                progress(done := done + images, total)
    _write_page(sources, folder, pages, folder.keep(audits(store)))
    outcome.details = {"page": str(folder.root / PAGE), "folder": str(folder.root), "bytes": folder.size}
    outcome.details["missing"] = _missing(pages)
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _missing(pages: list[LayerPages]) -> list[str]:
    """What the layers lack, with the layer where others have it."""
    found = []
    for what in dict.fromkeys(what for one in pages for what in one.inputs.missing):
        layers = [one.inputs.layer for one in pages if what in one.inputs.missing]
        found.append(what if len(layers) == len(pages) else f"{what} of {', '.join(layers)}")
    return found


def _network(sources: Sources) -> str:
    """What identifies the network that an atlas is of: its name, whatever its folder or revision, and its weights."""
    origin = sources.collected.origin
    name = origin["model"].partition(AT)[0] if origin["model"].startswith(MARK) else origin["model"]
    return fingerprint([name.rpartition("/")[2], origin["state"]])


def _find_boxes(
    pages: list[LayerPages], sources: Sources, settings: AtlasSettings, outcome: Outcome, progress: Progress
) -> None:
    """What the neurons saw of their references, where it was not found before."""
    crop = settings.crop
    if crop is None or crop == WHOLE:
        return
    how = EmbedSettings(crop=crop, force=settings.force, **settings.running)
    jobs = [
        CropJob(one.inputs.layer, crop, missing)
        for one in pages
        if len(missing := missing_boxes(sources, one.inputs.layer, crop, one.neurons, how))
    ]
    if not jobs:
        return
    network = open_network(sources.collected, settings.device)
    total = sum(sources.pairs(job.layer, job.neurons) for job in jobs)
    done = 0
    for job in jobs:
        for pairs in compute_boxes(crop_task(job, sources, network, how), sources, network, how, outcome.notes):
            progress(done := done + pairs, total)


def _write_page(sources: Sources, folder: AtlasFolder, pages: list[LayerPages], cards: list[dict[str, str]]) -> None:
    from pure_cli.views.atlas.page import page

    layers = [own for name, own in folder.layers.items() if name in sources.collected.layers]
    order = list(sources.collected.layers)
    layers.sort(key=lambda own: order.index(own["name"]))
    folder.renew(PAGE, page(site(sources.collected, layers, cards, pages[0].inputs.layer)))
