"""edit: what the network gives without some virtual neurons, held against what it gives as it is."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from pure_cli.config import fingerprint
from pure_cli.data.listing import Listing
from pure_cli.data.long_lists import values_at
from pure_cli.data.place import place_text
from pure_cli.errors import PureError
from pure_cli.files import disk_errors, write_whole
from pure_cli.settings.edit import EditSettings
from pure_cli.stages.inputs.features import Sources
from pure_cli.stages.outcome import Outcome, Progress, silent
from pure_cli.stages.references.dataset_pass import damage_notes
from pure_cli.stages.references.scores import why_no_outputs
from pure_cli.stages.runtime.images import images_at_once
from pure_cli.stages.runtime.network import workers_of
from pure_cli.workspace import Store

if TYPE_CHECKING:
    from pure_cli.stages.virtual_module import EditedNetwork

FOLDER = "edit"
LONGEST = 80  # characters of a file's name, before a checksum stands for the rest
NOT_IN_NAMES = re.compile(r"[^\w.=]+")


def edit(store: Store, settings: EditSettings, progress: Progress = silent) -> Outcome:
    """Run images through the network as it is and as edited, and write the differences as a table.

    Raises
    ------
    PureError
        Nothing is to be edited, there is no such virtual neuron, or the model gives no outputs (B, K).
    """
    from pure_cli.stages.virtual_module import edited
    from pure_cli.views.tables import as_csv

    begin = time.perf_counter()
    if not settings.silence and not settings.scale:
        raise PureError("Name what to edit: --silence layer4/201.2, or --scale layer4/201.2=0.5.")
    if settings.out is not None and not settings.out.absolute().parent.is_dir():
        raise PureError(f"There is no folder {settings.out.parent} to write {settings.out.name} into.")
    sources = Sources(store)
    listing = sources.images(list(sources.collected.layers), settings.data, settings.limit)
    with edited(store, settings.silence, settings.factors, settings.device) as network:
        found = _compared(network, listing, settings, progress)
    edit = _in_words(settings)
    table = found.table(edit)
    clustering = " + ".join(f"{features}, k = {k}" for features, k in dict.fromkeys(network.clusterings))
    file = settings.out or store.root / FOLDER / _name(edit, clustering, settings)
    if settings.out is None:
        with disk_errors(file):
            file.parent.mkdir(exist_ok=True)
    about = {"edit": edit, "virtual neurons by": clustering, "data": str(listing.data), "images": len(found.before)}
    columns, rows = [*about, *table["columns"]], [{**about, **row} for row in table["rows"]]
    write_whole(file, as_csv({**table, "columns": columns, "rows": rows}))
    outcome = Outcome("edit", sorted(network.layers), len(found.before), "images", damage_notes(found.damaged))
    outcome.notes += listing.notes
    if found.why_no_labels:
        outcome.notes.append(f"No accuracy: {found.why_no_labels}.")
    outcome.details = {"tables": [table], "file": str(file)}
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _in_words(settings: EditSettings) -> str:
    parts = {"without": settings.silence, "with": settings.scale}
    return " and ".join(f"{word} {', '.join(own)}" for word, own in parts.items() if own)


def _name(edit: str, clustering: str, settings: EditSettings) -> str:
    """Of the file of an edit by some virtual neurons, on other images than those of the workspace where there are."""
    parts = [edit, clustering.replace("k = ", "k")]
    if settings.data is not None:  # folders of one name lie in many places
        where = place_text(settings.data)
        parts.append(f"on {PurePosixPath(where).name} {fingerprint(where)[:4]}")
    if settings.limit is not None:
        parts.append(f"{settings.limit} images")
    whole = NOT_IN_NAMES.sub("-", " ".join(parts)).strip("-")
    if len(whole) > LONGEST:
        whole = f"{whole[:LONGEST]}-{fingerprint(whole)[:8]}"
    return f"{whole}.csv"


@dataclass
class _Differences:
    """What a network gives for images, before and after.

    Attributes
    ----------
    before, after : (M, K) float32
    label : (M,) of the images, as numbers of outputs
    why_no_labels : "" where labels number the outputs
    """

    listing: Listing
    before: np.ndarray
    after: np.ndarray
    label: np.ndarray
    why_no_labels: str
    damaged: list[tuple[int, str, str]] = field(default_factory=list)

    def table(self, what: str) -> dict[str, Any]:
        """A row for each output, the one that changes most first."""
        then, now = self.before.argmax(axis=1), self.after.argmax(axis=1)
        change = (self.after - self.before).astype(np.float64)
        rows: list[dict[str, Any]] = []
        for output in range(self.before.shape[1]):
            own = self.label == output if not self.why_no_labels else np.zeros(len(then), bool)
            rows.append({
                "class": self._name(output),
                "logit": float(change[:, output].mean()),
                "own images": float(change[own, output].mean()) if own.any() else None,
                "predicted": int((then == output).sum()),
                "now": int((now == output).sum()),
                "right": float((then[own] == output).mean()) if own.any() else None,
                "right now": float((now[own] == output).mean()) if own.any() else None,
            })  # fmt: skip
        rows.sort(key=lambda row: -abs(row["own images"] if row["own images"] is not None else row["logit"]))
        return {
            "name": "edit",
            "title": f"The network {what}, on {len(then):,} images",
            "columns": ["class", "logit", "own images", "predicted", "now", "right", "right now"],
            "rows": rows,
            "note": (
                "logit: its mean change over all images; own images: over those of the class. predicted: images for "
                "which the class is the largest output, before and now. right: share of the class's own images."
            ),
            "verdict": self._verdict(then, now, rows),
        }

    def _name(self, output: int) -> str:
        names = self.listing.names
        return names[output] if not self.why_no_labels and output < len(names) else str(output)

    def _verdict(self, then: np.ndarray, now: np.ndarray, rows: list[dict[str, Any]]) -> str:
        other = int((then != now).sum())
        told = f"{other:,} of {len(then):,} images are taken for another class than before"
        if not self.why_no_labels:
            told += f"; accuracy goes from {(then == self.label).mean():.2%} to {(now == self.label).mean():.2%}"
        first = rows[0]
        value = first["own images"] if first["own images"] is not None else first["logit"]
        return f"{told}. Class {first['class']} changes most, by {value:+.3g} in the logit."


def _compared(network: EditedNetwork, listing: Listing, settings: EditSettings, progress: Progress) -> _Differences:
    import torch

    from pure_cli.core.forward import run
    from pure_cli.data.loader import batches

    plain = network.network
    size = images_at_once(listing, plain, settings.batch_size)
    index, before, after, damaged = [], [], [], []
    done = 0
    for batch in batches(listing, listing.index, plain.preprocessing, size, workers_of(settings)):
        damaged += [(one.index, one.path, one.reason) for one in batch.damaged]
        if len(batch.index):
            inputs = plain.inputs(batch.images)
            with torch.no_grad():
                before.append(_logits(run(network.model, inputs)))
                after.append(_logits(network(inputs)))
            index.append(batch.index)
        done += len(batch.index) + len(batch.damaged)
        progress(done, len(listing.index))
    if not index:
        raise PureError(f"None of the images in {listing.data} can be read.")
    labels = values_at(listing.labels, np.concatenate(index))
    outputs = np.concatenate(before)
    why = why_no_outputs(listing, labels, outputs.shape[1])
    return _Differences(listing, outputs, np.concatenate(after), labels, why, damaged)


def _logits(output: Any) -> np.ndarray:
    import torch

    from pure_cli.core.forward import outputs_of

    output = outputs_of(output)
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        raise PureError("The model gives no outputs (B, K), so there is nothing to compare.")
    return output.float().cpu().numpy()
