"""The weights of a control: fresh ones, or those of the network dealt out anew; made once and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.core.selection import evenly_spread
from pure_cli.errors import PureError
from pure_cli.files import crc_or_none, write_whole
from pure_cli.models.spec import NO_WEIGHTS, parse_model
from pure_cli.models.trust import require_trusted
from pure_cli.settings.evaluate import CONTROL, UNTRAINED
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.runtime.network import Network, open_network
from pure_cli.waiting import waiting_for
from pure_cli.words import counted
from pure_cli.workspace import Store

if TYPE_CHECKING:
    import torch
    from torch import nn

FOLDER = "controls"  # in the workspace
RECORD, WEIGHTS = "control.json", "weights.pth"
FITTED_ON, AT_ONCE = 256, 32  # images that the statistics of batch norms are taken over
VERSION = 1  # raised when controls come to have other weights
LIBRARIES = ("torchvision", "timm", "hf")  # whose networks begin with seeded weights, and no others


@dataclass(frozen=True)
class Control:
    """A network to hold figures against.

    Attributes
    ----------
    kind : untrained or shuffled
    seed : of its weights
    """

    kind: str
    seed: int

    @classmethod
    def of(cls, name: str) -> Control:
        """The one that a name means: ``untrained``, ``shuffled:1``."""
        found = CONTROL.fullmatch(name)
        assert found, "the settings make sure"
        return cls(found[1], int(found[2] or 0))

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.seed}" if self.seed else self.kind

    def store(self, of: Store) -> Store:
        """The workspace of this control in a workspace."""
        return Store(of.root / FOLDER / self.name.replace(":", "-"))


@dataclass(frozen=True)
class ControlWeights:
    """What a control is made of.

    Attributes
    ----------
    weights : as of ``collect --weights``
    seed : as of ``collect --seed``
    made : in words, how
    """

    weights: str
    seed: int
    made: str


def controls_of(store: Store) -> dict[Path, dict[str, Any]]:
    """The controls that a workspace has: their folders, and what was noted down of them."""
    found = {}
    for record in sorted((store.root / FOLDER).glob(f"*/{RECORD}")):
        with suppress(OSError, ValueError):
            found[record.parent] = json.loads(record.read_text(encoding="utf-8"))
    return found


def control_weights(control: Control, sources: Sources, layers: list[str], device: str) -> ControlWeights:
    """The weights of a control of the network of a workspace, made where they are not there.

    Raises
    ------
    PureError
        The network is untrained itself, with this seed.
    """
    origin, own = sources.collected.origin, control.store(sources.store)
    if control.kind == UNTRAINED and origin["weights"] == NO_WEIGHTS and origin["seed"] == control.seed:
        raise PureError(
            f"The network is untrained itself; --controls {UNTRAINED}:{control.seed + 1} has other weights."
        )
    listing = sources.listing(layers)
    key = {
        "control": control.kind,
        "seed": control.seed,
        "state": origin["state"],
        "images": listing.fingerprint,
        "version": VERSION,
    }
    file, place = own.root / WEIGHTS, own.root / RECORD
    with suppress(OSError, ValueError, KeyError):
        there = json.loads(place.read_text(encoding="utf-8"))
        if there["of"] == key and there["crc"] == crc_or_none(file):
            weights = str(file.absolute()) if there["weights"] else NO_WEIGHTS
            return ControlWeights(weights, control.seed, there["made"])
    require_trusted(parse_model(origin["model"]))
    waiting_for(f"making the {control.kind} network")
    model, made = (
        _untrained(control, sources, device)
        if control.kind == UNTRAINED
        else _shuffled(control, sources, layers, device)
    )
    own.prepare()
    file.unlink(missing_ok=True)
    if model is not None:
        _save(model, file)
    record = {"of": key, "weights": model is not None, "crc": crc_or_none(file), "made": made}
    write_whole(place, json.dumps(record, indent=1))
    return ControlWeights(str(file.absolute()) if model is not None else NO_WEIGHTS, control.seed, made)


def _untrained(control: Control, sources: Sources, device: str) -> tuple[nn.Module | None, str]:
    """None where ``--weights none`` gives them: where what makes the network makes others with another seed."""
    from pure_cli.core.controls import initialise_again
    from pure_cli.models.load import load_model
    from pure_cli.models.weights import state_fingerprint

    origin = sources.collected.origin
    spec, size = parse_model(origin["model"]), origin["preprocessing"].get("crop_size")
    fresh = f"fresh weights (seed {control.seed})"
    if spec.kind in LIBRARIES:
        return None, fresh
    states = {state_fingerprint(load_model(spec, NO_WEIGHTS, control.seed + more, size)) for more in (0, 1)}
    if len(states) > 1:
        return None, fresh
    model = open_network(sources.collected, device).model
    left = initialise_again(model, control.seed)
    kept = f", but for {counted(len(left), 'parameter')} that no module draws ({left[0]}, …)" if left else ""
    return model, f"{fresh}, drawn by each module of the trained network{kept}"


def _shuffled(control: Control, sources: Sources, layers: list[str], device: str) -> tuple[nn.Module | None, str]:
    from pure_cli.core.controls import fit_norms, shuffle_weights

    network = open_network(sources.collected, device)
    shuffle_weights(network.model, control.seed)
    norms = fit_norms(network.model, _batches(network, sources, layers))
    fitted = f"; statistics of {counted(norms, 'batch norm')} taken again over {FITTED_ON} images" if norms else ""
    return network.model, f"weights dealt out anew within each tensor (seed {control.seed}){fitted}"


def _batches(network: Network, sources: Sources, layers: list[str]) -> Iterator[torch.Tensor]:
    """Images spread evenly over the data set, as the network takes them."""
    from pure_cli.data.loader import batches

    listing = sources.listing(layers)
    damaged = [index for index, _, _ in sources.collected.damaged]
    chosen = evenly_spread(np.setdiff1d(listing.index, damaged), FITTED_ON)
    for batch in batches(listing, chosen, network.preprocessing, AT_ONCE, 0):
        yield network.inputs(batch.images)


def _save(model: nn.Module, file: Path) -> None:
    import torch

    content = BytesIO()
    torch.save({name: value.cpu() for name, value in model.state_dict().items()}, content)
    write_whole(file, content.getvalue())
