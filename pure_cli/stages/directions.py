"""directions: what a layer's own activations are made of, as a file that collect takes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.artifacts import Collected, read_collected
from pure_cli.config import fingerprint
from pure_cli.core.bands import BAND, without_band
from pure_cli.core.directions import AT, module_of
from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.provenance import Provenance
from pure_cli.settings.directions import DirectionsSettings
from pure_cli.stages.inputs.freshness import require_unchanged
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.resume.checkpoint import ArrayCheckpoint
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.images import first_image, images_at_once, named_images
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.stages.runtime.soundness import require_sound
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.core.autoencoder import Dictionary, Training
    from pure_cli.core.components import Components, Moments, Sample

    Seen = Moments | Sample | Training

FOLDER = "directions"  # of the workspace
USUAL = 64  # components, where there are as many channels
USUAL_LATENTS = 4  # a channel
USUAL_ACTIVE = 8, 32  # channels for each that is active; at most so many
QUALITIES = ("explained", "explained by pca", "active", "dead", "nearest cosine", "highest cosine")
AT_MOST_CHANNELS = ("pca", "nmf")
SAMPLED = ("nmf", "kmeans")
SAMPLE_ROWS = 2**15  # positions of a sample at most: 256 MiB where there are 2048 channels
CHECKPOINT_SECONDS = 5.0  # at most this much work is lost when the process is killed, unless saving itself takes long
SAVING = 0.05  # of the time at most
VERSION = 1  # raised when the same settings come to mean other directions


def directions(store: Store, settings: DirectionsSettings, progress: Progress = silent) -> Outcome:
    """Find the components of layers, and write a file of each.

    Raises
    ------
    PureError
        No references, stale ones, an unknown layer, more components than channels, a file of something else.
    """
    begin = time.perf_counter()
    collected = read_collected(store)
    names = _layers(collected, settings)
    listing = require_unchanged(store, collected, list(collected.layers)[:1])
    work = _Work(store, settings, collected, listing)
    targets = {name: work.target(name) for name in names}
    wanted = [target for target in targets.values() if settings.force or not target.is_current()]
    notes = _written(work, wanted, progress) if wanted else []
    details: dict[str, Any] = {
        "files": {name: str(target.path) for name, target in targets.items()},
        "explained": {name: target.explained() for name, target in targets.items()},
        "images": len(work.index),
        "components": {name: target.m for name, target in targets.items()},
        "how": settings.how,
        "relu": settings.how in ("nmf", "sae"),
        "quality": {name: quality for name, target in targets.items() if (quality := target.quality())},
    }
    if settings.how == "sae":
        details["tables"] = [_qualities(targets.values())]
    done = [target.layer for target in wanted] or names
    computed = len(work.index) if wanted else 0
    return Outcome("directions", done, computed, "images", notes, time.perf_counter() - begin, details)


def latents_active(channels: int, latents: int) -> int:
    """How many latents of an autoencoder are active at a position, where nothing is said."""
    each, most = USUAL_ACTIVE
    return min(latents, most, max(1, channels // each))


def _layers(collected: Collected, settings: DirectionsSettings) -> list[str]:
    """The layers that were asked for, or those of the workspace whose neurons are channels."""
    names = list(dict.fromkeys(settings.layer or collected.channel_layers))
    names = names or list(dict.fromkeys(module_of(name) for name in collected.layers))
    if band := next((name for name in names if BAND in name), None):
        raise PureError(f"'{band}' is a band. Name its layer: {without_band(band)}.")
    if there := next((name for name in names if AT in name), None):
        raise PureError(f"'{there}' is a layer of directions already. Name the layer they lie in: {module_of(there)}.")
    if settings.out is not None:
        if len(names) > 1:
            raise PureError(f"--out is one file, and there are {len(names)} layers. Name one with --layer.")
        if settings.out.suffix != ".safetensors":
            raise PureError(f"--out has to be a .safetensors file, and is {settings.out}.")
    return names


@dataclass(frozen=True)
class _Target:
    """The file of one layer's directions, and what it is to be made from."""

    layer: str
    path: Path
    m: int
    provenance: Provenance

    def is_current(self) -> bool:
        """Whether the file that is there is the one that would be written.

        Raises
        ------
        PureError
            It is a file of something else.
        """
        if not self.path.exists():
            return False
        there = self._metadata()
        if "fingerprint" not in there:
            raise PureError(
                f"{self.path} was not written by pure directions. Name another with --out, or replace it with --force."
            )
        return there["fingerprint"] == self.provenance.fingerprint

    def explained(self) -> float:
        """What all the components have together, as the file says."""
        return float(self._metadata()["explained"])

    def quality(self) -> dict[str, float]:
        """What more the file says of them."""
        quality: dict[str, float] = json.loads(self._metadata().get("quality", "{}"))
        return quality

    def write(self, components: Components | Dictionary, how: str) -> None:
        """Write the file, as a whole."""
        from safetensors.numpy import save

        from pure_cli import __version__
        from pure_cli.files import disk_errors, write_whole

        names = [f"{how} {i} ({share:.1%})".replace("%", " %") for i, share in enumerate(components.share.tolist())]
        # safetensors takes the bytes as they lie in memory, whatever the strides
        arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in components.tensors().items()}
        metadata = {
            "names": "\n".join(names),
            "share": json.dumps(components.share.tolist()),
            "explained": str(components.explained),
            "settings": json.dumps(self.provenance.settings, sort_keys=True, default=str),
            "made_from": json.dumps(self.provenance.made_from, sort_keys=True, default=str),
            "fingerprint": self.provenance.fingerprint,
            "pure_version": __version__,
        }
        metadata |= {"quality": json.dumps(components.quality)} if components.quality else {}
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, save(arrays, metadata))

    def _metadata(self) -> Mapping[str, str]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "np") as file:
                return file.metadata() or {}
        except (OSError, SafetensorError):
            return {}


@dataclass
class _Work:
    """What a run is about; the network is opened when it is needed."""

    store: Store
    settings: DirectionsSettings
    collected: Collected
    listing: Listing
    channels: dict[str, int] = field(init=False)
    _network: Network | None = None

    def __post_init__(self) -> None:
        own = {name: layer for name, layer in self.collected.layers.items() if layer.directions is None}
        self.channels = {name: layer.neurons for name, layer in own.items()}

    @property
    def network(self) -> Network:
        self._network = self._network or open_network(self.collected, self.settings.device)
        return self._network

    @property
    def index(self) -> np.ndarray:
        """The images that are looked at."""
        index, most = self.listing.index, self.settings.limit or len(self.listing)
        if self.settings.how in SAMPLED:
            most = min(most, max(1, SAMPLE_ROWS // self.settings.sample))
        index = index if most >= len(index) else index[np.arange(most) * len(index) // most]
        if self.settings.how == "sae":  # data sets come class by class, more of it than a buffer can mix
            return np.random.default_rng(self.settings.seed).permutation(index)
        return index

    def target(self, name: str) -> _Target:
        """Where the directions of a layer go."""
        if name not in self.channels:
            self.channels[name] = self._channels(name)
        channels, how = self.channels[name], self.settings.how
        usual = USUAL_LATENTS * channels if how == "sae" else min(USUAL, channels)
        m = self.settings.components or usual
        if m > channels and how in AT_MOST_CHANNELS:
            raise PureError(f"'{name}' has {channels} channels, and {how} finds no more components (-m {m}).")
        path = self.settings.out or self.store.root / FOLDER / name / f"{how}-{m}.safetensors"
        settings: dict[str, Any] = {"how": how, "m": m, "layer": name, "images": len(self.index), "version": VERSION}
        settings |= self.settings.arithmetic
        if how != "pca":
            settings["seed"] = self.settings.seed
        if how in SAMPLED:
            settings["sample"] = self.settings.sample
        if how == "sae":
            settings |= {"active": self._active(name, m), "sparsity": self.settings.sparsity}
        made_from = next(iter(self.collected.layers.values())).provenance.made_from
        return _Target(name, path, m, Provenance(settings, made_from))

    def begun(self, target: _Target) -> Seen:
        """What is kept of a layer's activations in a pass, before it begins."""
        from pure_cli.core import autoencoder, components

        settings, channels = self.settings, self.channels[target.layer]
        if settings.how == "sae":
            active, apart = self._active(target.layer, target.m), autoencoder.held_out(self.index)
            return autoencoder.Training(channels, target.m, active, settings.sparsity, apart.tolist(), settings.seed)
        if settings.how in SAMPLED:
            kind = components.Sample if settings.how == "nmf" else components.CentroidSample
            return kind(settings.sample, settings.seed)
        if settings.how == "random":
            return components.RandomMoments(channels, settings.seed)
        return components.Moments(channels)

    def _active(self, name: str, m: int) -> int:
        """How many latents of an autoencoder are active at a position."""
        active = self.settings.active or latents_active(self.channels[name], m)
        if active > m:
            raise PureError(f"--active {active} is more than the {m} latents there are for '{name}' (-m).")
        return active

    def _channels(self, name: str) -> int:
        """Of a layer that the workspace has no references of."""
        from pure_cli.core.circuits import activations
        from pure_cli.core.layout import channels_first
        from pure_cli.models.layers import check_layer, list_layers

        image = self.network.inputs(first_image(self.listing, self.network))
        check_layer(name, list_layers(self.network.model, image))
        return channels_first(activations(self.network.model, image, [name])[name]).shape[1]


def _qualities(targets: Iterable[_Target]) -> dict[str, Any]:
    """What sparse autoencoders are worth, as a table."""
    from pure_cli.stages.evaluation.study import Table

    rows: list[dict[str, Any]] = []
    for target in targets:
        row = {name.replace("_", " "): value for name, value in target.quality().items()}
        rows.append({"layer": target.layer, "latents": target.m, "explained": target.explained(), **row})
    note = (
        "Of positions in images that were not trained on. explained: share of the variance; explained by pca: by as "
        "many principal components as latents are meant to be active; active: latents at a position; dead: share of "
        "latents that are nowhere active; nearest cosine: of an atom with the one most like it, mean; highest cosine: "
        "of the two most alike."
    )
    columns = ["layer", "latents", *QUALITIES]
    return Table("directions", "sparse autoencoders", columns, rows, note).as_dict()


def _written(work: _Work, targets: list[_Target], progress: Progress) -> list[str]:
    """One pass over the images, and the files; returns what the user should know."""
    settings = work.settings
    seen = {target.layer: work.begun(target) for target in targets}
    size = images_at_once(work.listing, work.network, settings.batch_size)
    key = fingerprint([[target.provenance.fingerprint for target in targets], size, work.network.device.type])
    state = ArrayCheckpoint(work.store, "directions", key)
    if settings.force:
        state.drop()
    notes = _pass(work, seen, state, size, progress)
    for target in targets:
        try:
            components = seen[target.layer].components(target.m)
        except PureError as error:
            raise PureError(f"'{target.layer}' cannot be taken apart: {error}.") from None
        target.write(components, settings.how)
        if negative := seen[target.layer].negative:
            notes.append(
                f"{negative:.1%} of the activations of '{target.layer}' are negative; NMF counts them as zero."
            )
    state.drop()
    return notes


def _pass(work: _Work, seen: Mapping[str, Seen], state: ArrayCheckpoint, size: int, progress: Progress) -> list[str]:
    """Show the images to what is kept of each layer, from where a killed process left it."""
    import torch

    from pure_cli.core.circuits import activations
    from pure_cli.core.layout import channels_first
    from pure_cli.data.loader import Batch, batches, default_workers

    settings, index = work.settings, work.index
    network = work.network.ready(first_image(work.listing, work.network), list(seen))
    workers = default_workers() if settings.workers is None else settings.workers
    chunks, damaged, broken = _restored(seen, state)
    notes = require_sound(work.network, work.listing, seen)
    adaptive_batches = AdaptiveBatches(notes)
    saved, pause = time.perf_counter(), CHECKPOINT_SECONDS
    progress(min(chunks * size, len(index)), len(index))
    for batch in batches(work.listing, index, network.preprocessing, size, workers, chunks):
        damaged += len(batch.damaged)
        parts: list[tuple[np.ndarray, dict[str, torch.Tensor]]] = []

        def compute(begin: int, end: int, batch: Batch = batch, parts: list[Any] = parts) -> None:
            with named_images(work.listing, batch.index[begin:end]):
                found = activations(network.model, network.inputs(batch.images[begin:end]), list(seen))
            parts.append((batch.index[begin:end], {name: channels_first(found[name]) for name in seen}))

        adaptive_batches.each(len(batch.index), compute)
        for shown, values in parts:
            finite = torch.stack([value.isfinite().all(dim=(1, 2)) for value in values.values()]).all(dim=0)
            broken += int((~finite).sum())
            for name, value in values.items():
                seen[name].add(value[finite], shown[finite.cpu().numpy()])
        chunks += 1
        if (begun := time.perf_counter()) - saved > pause:
            _save(seen, state, (chunks, damaged, broken))
            saved = time.perf_counter()
            pause = max(CHECKPOINT_SECONDS, (saved - begun) / SAVING) if CHECKPOINT_SECONDS else 0
        progress(min(chunks * size, len(index)), len(index))
    said = ((damaged, "could not be read and were skipped."), (broken, "gave activations that are not finite numbers."))
    return [*notes, *(f"{count} image{'s' if count > 1 else ''} {what}" for count, what in said if count)]


def _restored(seen: Mapping[str, Seen], state: ArrayCheckpoint) -> tuple[int, int, int]:
    """Put back what was kept so far; returns the chunks that are done, and the images that failed."""
    arrays = state.read()
    if not arrays:
        return 0, 0, 0
    for i, kept in enumerate(seen.values()):
        kept.restore({name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{i}/")})
    chunks, damaged, broken = arrays["counts"].tolist()
    return chunks, damaged, broken


def _save(seen: Mapping[str, Seen], state: ArrayCheckpoint, counts: tuple[int, int, int]) -> None:
    arrays = {f"{i}/{name}": array for i, kept in enumerate(seen.values()) for name, array in kept.state().items()}
    state.save({**arrays, "counts": np.array(counts)})
