"""render: a figure for each neuron, with its virtual neurons on a map and in rows of what they respond to."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pure_cli.artifacts import Clustering, clustering_path, need_clusterings, need_layers
from pure_cli.core.neurons import choose_neurons
from pure_cli.errors import PureError, unknown
from pure_cli.files import TEMPORARY
from pure_cli.settings.render import RenderSettings
from pure_cli.stages.cluster import in_order
from pure_cli.stages.inputs.choice import chosen, require_virtual
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.inputs.lower_channels import ChannelReader
from pure_cli.stages.labelling.names import names_of
from pure_cli.stages.neuron_figures.index import FIGURES, FigureIndex, figure_file
from pure_cli.stages.neuron_figures.painter import FigureJob, Painter
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.runtime.network import open_network
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

VIEW = 6  # raised when figures come to look different


def render(store: Store, settings: RenderSettings, progress: Progress = silent) -> Outcome:
    """Draw the figures of neurons, or those of circuits where some are named."""
    if settings.circuit:
        from pure_cli.stages.circuit_graph.figures import render_circuits

        return render_circuits(store, settings, progress)
    return render_neurons(store, settings, progress)


def render_neurons(store: Store, settings: RenderSettings, progress: Progress = silent) -> Outcome:
    """Draw the figures that are not there yet.

    Raises
    ------
    PureError
        No clustering, a stale one, unknown layer or neuron.
    """
    begin = time.perf_counter()
    sources = Sources(store)
    clusterings = need_clusterings(store)
    clustered = {path.split("/")[1]: None for path in clusterings}
    layers = need_layers(settings.layer, clustered, "cluster")
    folder = settings.out or store.root / FIGURES
    index = FigureIndex(folder)
    jobs: list[FigureJob] = []
    for layer in layers:
        kinds = [sources.named(layer, features) for features in settings.features or ()]
        ks: Sequence[int | str] | None = settings.k
        if not kinds:
            choice = chosen(store, layer, clusterings)
            kinds, ks = [choice.features], ks or [choice.k]
        for clustering in _choose(layer, kinds, ks, clusterings):
            jobs += _jobs(layer, sources, clustering, settings, folder)
    if folder.exists() and not folder.is_dir():
        raise PureError(f"{folder} is a file. Choose a folder for the figures with --out.")
    wanted = [job for job in jobs if settings.force or not index.has(job)]
    outcome = Outcome("render", layers, len(wanted), "figures")
    outcome.details = {"folder": str(folder), "files": [str(job.file) for job in jobs]}
    if wanted:
        listing = sources.listing(layers)
        network = open_network(sources.collected, settings.device)
        for left in (store.root / FIGURES).rglob(f".*{TEMPORARY}"):  # by a process that was killed as it wrote
            left.unlink(missing_ok=True)
        painter = Painter(sources, listing, network, settings)
        progress(0, len(wanted))
        waiting_for("laying out the first map")
        for done, job in enumerate(wanted, 1):
            painter.paint(job)
            index.add(job)
            progress(done, len(wanted))
        outcome.notes += dict.fromkeys(note for notes in painter.misfits.values() for note in notes)
        outcome.notes += dict.fromkeys(painter.notes)
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _jobs(
    layer: str, sources: Sources, clustering: Clustering, settings: RenderSettings, folder: Path
) -> list[FigureJob]:
    """The figures of one clustering.

    Raises
    ------
    PureError
        It is stale, or lacks a neuron that was asked for.
    """
    own = clustering.provenance.settings
    sources.layers([layer], own["features"])
    source = sources.features_of(layer, own["features"])
    source.require_current(clustering)
    count = sources.collected.layers[layer].neurons
    neurons = choose_neurons(
        settings.neurons, clustering.neuron, count, layer, "virtual neurons", "pure cluster", virtual=True
    )
    require_virtual(clustering, settings.neurons, count, layer)
    if settings.top is not None:
        neurons = in_order(clustering, neurons, "polysemantic")[: settings.top]
    look = {**settings.model_dump(mode="json", include={"crop", "images", "seed"}), "view": VIEW}
    look |= settings.arithmetic
    files = [figure_file(folder, clustering, c, settings.format) for c in neurons.tolist()]
    channels, names = ChannelReader(sources, layer, clustering), names_of(sources.store, layer, clustering)
    return [
        FigureJob(layer, int(c), clustering, look, channels, file, names)
        for c, file in zip(neurons, files, strict=True)
    ]


def _choose(
    layer: str, kinds: list[str], ks: Sequence[int | str] | None, clusterings: dict[str, Clustering]
) -> Iterator[Clustering]:
    """The clusterings that were asked for; where no k was named, the smallest that splits.

    Raises
    ------
    PureError
        One of them is not there.
    """
    own = [c.provenance.settings for path, c in clusterings.items() if path.startswith(f"layers/{layer}/")]
    for features in kinds:
        there = sorted((other["k"] for other in own if other["features"] == features), key=_numbers_first)
        if not there:
            hint = f"Run `pure cluster --features {features}` to add it."
            raise unknown("clustering by features", features, sorted({other["features"] for other in own}), hint)
        for k in ks or [next((k for k in there if k != 1), there[0])]:
            if k not in there:
                raise PureError(
                    f"There is no clustering of '{layer}' by {features} with k = {k}, only "
                    f"{', '.join(map(str, there))}. Run `pure cluster --features {features} --k {k}` first."
                )
            yield clusterings[clustering_path(layer, features, k)]


def _numbers_first(k: int | str) -> tuple[bool, int]:
    return (False, k) if isinstance(k, int) else (True, 0)
