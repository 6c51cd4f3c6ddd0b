"""What collect makes references from, and the network that it opens for them."""

from dataclasses import dataclass, replace
from typing import Any

from pure_cli.data.listing import Listing
from pure_cli.errors import PureError
from pure_cli.models.repos import pinned, pinned_file
from pure_cli.models.spec import NO_WEIGHTS, ModelSpec, parse_model, source_fingerprint, weights_fingerprint
from pure_cli.models.trust import trust
from pure_cli.settings.collect import SCORE_OPTIONS, CollectSettings
from pure_cli.stages.references.bands import RequestedBands
from pure_cli.stages.runtime.arithmetic import open_devices
from pure_cli.stages.runtime.images import images_of, place_of
from pure_cli.stages.runtime.network import Network
from pure_cli.waiting import waiting_for
from pure_cli.workspace import Store

PREPROCESSING = ("resize", "crop_size", "interpolation", "mean", "std")


@dataclass(frozen=True)
class CollectInputs:
    """What a run of collect makes references from, and how it chooses them.

    Attributes
    ----------
    listing : the images
    made_from : what references depend on, but for the content of the images; JSON-like
    how : references are chosen; JSON-like
    trust_note : a sentence where it cannot be remembered that the user named the model file
    """

    store: Store
    settings: CollectSettings
    spec: ModelSpec
    listing: Listing
    made_from: dict[str, Any]
    how: dict[str, Any]
    trust_note: str | None

    @property
    def bands(self) -> RequestedBands:
        """The bands beside those that come first."""
        return RequestedBands.of(self.settings)

    @property
    def place(self) -> dict[str, Any]:
        """Where model, weights and images are, as the workspace remembers it."""
        return {
            "data": self.listing.data,
            "model": str(self.spec),
            "weights": place_of(self.settings.weights),
            "limit": self.settings.limit,
        }

    def weights_notes(self) -> list[str]:
        """A sentence on weights that nobody trained."""
        if not _has_random_weights(self.spec, self.settings):
            return []
        untrained = self.settings.weights is not None
        which = "untrained (--weights none)" if untrained else "those that its function makes"
        return [f"The weights of {self.spec} are {which}; --weights FILE gives it trained ones."]


def collect_inputs(store: Store, settings: CollectSettings) -> CollectInputs:
    """List the images, and say what references of them would be made from now.

    Raises
    ------
    PureError
        No such model, weights or images.
    """
    spec = pinned(parse_model(settings.model))
    settings = settings.model_copy(update={"weights": pinned_file(settings.weights)})
    trust_note = trust(spec)
    listing = images_of(store, settings.data, settings.limit)
    made_from = {
        "model": source_fingerprint(spec),
        "weights": weights_fingerprint(settings.weights, spec),
        "seed": settings.seed if _has_random_weights(spec, settings) else 0,
        "data": listing.fingerprint,
        "preprocessing": requested_preprocessing(settings),
    }
    how: dict[str, Any] = {"n": settings.references, **({"score": settings.score} if settings.score else {})}
    how |= {"channels_axis": settings.channels} if settings.channels else {}
    how |= settings.arithmetic
    return CollectInputs(store, settings, spec, listing, made_from, how, trust_note)


def _has_random_weights(spec: ModelSpec, settings: CollectSettings) -> bool:
    return str(settings.weights) == NO_WEIGHTS or (spec.kind == "file" and settings.weights is None)


def requested_preprocessing(settings: CollectSettings) -> dict[str, Any]:
    """What the user says of the preprocessing; None for what he leaves to the model."""
    return settings.model_dump(mode="json", include=set(PREPROCESSING))


def open_model(
    spec: ModelSpec, settings: CollectSettings, requested: dict[str, Any], seed: int
) -> tuple[Network, dict[str, Any]]:
    """The network on its device, and where it comes from, JSON-like.

    Parameters
    ----------
    requested : by `requested_preprocessing`
    """
    waiting_for("loading the network")
    from pure_cli.core.preprocessing import Preprocessing
    from pure_cli.models.load import load_model, own_preprocessing
    from pure_cli.models.weights import state_fingerprint

    chosen = {name: value for name, value in requested.items() if value is not None}
    if chosen and spec.kind == "python":
        raise PureError(f"The transform of {spec.short} says how images are prepared; leave out {', '.join(chosen)}.")
    complete = all(requested[name] is not None for name in PREPROCESSING)
    preprocessing = replace(Preprocessing() if complete else own_preprocessing(spec), **chosen)
    device, *others = open_devices(settings.device)
    notes: list[str] = []
    model = load_model(spec, settings.weights, seed, preprocessing.crop_size, notes)
    origin = {
        "model": str(spec),
        "weights": place_of(settings.weights),
        "seed": seed,
        "limit": settings.limit,
        "n": settings.references,
        "score": settings.model_dump(mode="json", include=set(SCORE_OPTIONS), exclude_none=True),
        "requested": requested,
        "preprocessing": preprocessing.as_dict(),
        "state": state_fingerprint(model),
        **({"channels_axis": settings.channels} if settings.channels else {}),
        **settings.arithmetic,
    }
    return Network(model.to(device), device, preprocessing, notes=notes, others=tuple(others)), origin
