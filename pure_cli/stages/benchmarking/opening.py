"""A track with its network and its images, which are the frozen ones or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pure_cli.artifacts import Track, read_track
from pure_cli.artifacts.tracks import ENDING
from pure_cli.config import with_preset
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.data.content import pixel_digests
from pure_cli.data.listing import Listing, list_images
from pure_cli.data.loader import batches
from pure_cli.errors import PureError, unknown
from pure_cli.models.spec import NO_WEIGHTS, parse_model
from pure_cli.models.trust import trust
from pure_cli.settings.benchmark import BenchmarkSettings
from pure_cli.stages.benchmarking.references import OpenTrack
from pure_cli.stages.outcome import Progress
from pure_cli.stages.runtime.arithmetic import open_devices
from pure_cli.stages.runtime.images import images_at_once
from pure_cli.stages.runtime.network import Network, workers_of
from pure_cli.waiting import waiting_for
from pure_cli.words import listed

SHIPPED = Path(__file__).with_name("tracks")
DIGITS = "digits"  # whose network and images come with the package
AT_ONCE = 256  # images that are compared
UNTRAINED_SEED = 0
HASH = 8  # letters that a sentence has


def tracks() -> dict[str, Path]:
    """The tracks that come with pure, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob(f"*{ENDING}"))}


def find_track(text: str) -> Track:
    """The track of a name, or of a file.

    Raises
    ------
    PureError
        There is none.
    """
    known = tracks()
    if text in known:
        return read_track(known[text])
    if Path(text).suffix != ENDING:
        raise unknown("track", text, known, f"A track of your own is a file{ENDING} of `pure freeze`.")
    if not Path(text).is_file():
        raise PureError(f"There is no track {text}. `pure freeze` writes one.")
    return read_track(Path(text))


@contextmanager
def opened(settings: BenchmarkSettings, track: Track, progress: Progress) -> Iterator[OpenTrack]:
    """A track with what it is about.

    Parameters
    ----------
    progress : called with how many images were compared, and how many there are

    Raises
    ------
    PureError
        Weights or images are missing, or are not those of the track.
    """
    given = {name: getattr(settings, name) for name in ("model", "weights", "data")}
    given = {name: value for name, value in given.items() if value is not None}
    _require_given(track, given)
    network, untrained = _networks(track, given, settings)
    with TemporaryDirectory(prefix="pure-benchmark-") as folder:
        waiting_for("comparing the images with those of the track")
        listing = _listing(track, given.get("data"), Path(folder))
        index = _indices(track, listing, network, workers_of(settings), progress)
        size = images_at_once(listing, network, settings.batch_size)
        yield OpenTrack(track, network, untrained, listing, index, size)


def _require_given(track: Track, given: Mapping[str, Any]) -> None:
    """Say all at once what a track wants and does not come with pure.

    Raises
    ------
    PureError
        Something is missing.
    """
    model = str(given.get("model") or track.model)
    missing = [] if model else [f"its network ({track.network}) with --model"]
    images = [] if given.get("data") or track.model == DIGITS else ["its images with --data"]
    if not missing and not images:
        return
    if "weights" not in given and (not model or ".py:" in model):
        missing.append("its weights with --weights (if the model's function does not load them)")
    raise PureError(f"The track '{track.name}' does not come whole with pure. Give {listed(missing + images)}.")


def _networks(track: Track, given: Mapping[str, Any], settings: BenchmarkSettings) -> tuple[Network, Network]:
    """The network with the track's weights, and with weights of a seed."""
    waiting_for("loading the network")
    from pure_cli.models.load import load_model
    from pure_cli.models.weights import state_fingerprint

    model = given.get("model") or track.model
    asked = with_preset({**{name: given[name] for name in ("weights",) if name in given}, "model": model})
    spec, preprocessing = parse_model(asked["model"]), Preprocessing.from_dict(track.preprocessing)
    trust(spec)
    trained = load_model(spec, asked.get("weights"), 0, preprocessing.crop_size)
    if (state := state_fingerprint(trained)) != track.state:
        weights = f" with {asked['weights']}" if asked.get("weights") else ""
        raise PureError(
            f"The weights of {spec.short}{weights} (hash {state[:HASH]}…) are not those of the track '{track.name}', "
            f"which is of {track.network} (hash {track.state[:HASH]}…). Give these with --model and --weights."
        )
    untrained = load_model(spec, NO_WEIGHTS, UNTRAINED_SEED, preprocessing.crop_size)
    device, *_ = open_devices(settings.device)
    one, other = (Network(own.to(device), device, preprocessing) for own in (trained, untrained))
    return one, other


def _listing(track: Track, data: str | None, folder: Path) -> Listing:
    """The images that are named, or those that come with the package."""
    if data is not None:
        return list_images(data)
    from pure_cli.demo.images import read_digits

    np.savez(folder / "digits.npz", images=read_digits("all").pixels)  # one file, and none for each image
    return list_images(folder / "digits.npz")


def _indices(track: Track, listing: Listing, network: Network, workers: int, progress: Progress) -> np.ndarray:
    """(I,) int64, where the images of a track are among some images: found by their pixels, in whatever order."""
    places: dict[int, int] = {}
    done = 0
    for batch in batches(listing, listing.index, network.preprocessing, AT_ONCE, workers):
        digests = pixel_digests(batch.images.numpy()).tolist()
        for digest, index in zip(digests, batch.index.tolist(), strict=True):
            places.setdefault(digest, index)
        done += len(batch.index) + len(batch.damaged)
        progress(done, len(listing))
    wanted = track.image.tolist()
    missing = sum(digest not in places for digest in wanted)
    if missing:
        raise PureError(
            f"{missing:,} of the {len(wanted):,} images of the track '{track.name}' are not in {listing.data}, or "
            "differ in their pixels. Give the images that it was frozen with."
        )
    return np.array([places[digest] for digest in wanted], np.int64)
