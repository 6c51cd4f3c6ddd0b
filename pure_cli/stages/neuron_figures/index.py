"""Which figures of a folder were made from what."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pure_cli.artifacts import Clustering
from pure_cli.errors import UnreadableFile
from pure_cli.files import crc_or_none, file_crc, write_whole

FIGURES, CIRCUITS, INDEX = "figures", "circuits", "figures.json"


class Drawn(Protocol):
    """A figure that knows what it is made from."""

    @property
    def file(self) -> Path: ...

    @property
    def entry(self) -> dict[str, Any]: ...


def figure_file(folder: Path, clustering: Clustering, address: int | str, ending: str) -> Path:
    """The file of a neuron, or of a virtual neuron as "201.2": its name says which clustering that is of.

    Raises
    ------
    UnreadableFile
        It would lie elsewhere, by the names in a workspace from somebody else.
    """
    own = clustering.provenance.settings
    neuron, dot, number = str(address).partition(".")
    name = f"neuron-{int(neuron):04d}{dot}{number}-{own['features']}-k{own['k']}.{ending}"
    file = folder / own["layer"] / name
    if Path(os.path.normpath(file)).parents[1] != Path(os.path.normpath(folder)):
        raise UnreadableFile(
            f"The virtual neurons of '{own['layer']}' by '{own['features']}' would have figures outside of {folder}."
        )
    return file


class FigureIndex:
    """Which figures of a folder were made from what.

    Parameters
    ----------
    folder : of the figures
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._entries: dict[str, dict[str, Any]] = {}
        with suppress(OSError, ValueError):
            content = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            self._entries = {key: entry for key, entry in content.items() if isinstance(entry, dict)}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """What each figure that is there was made from."""
        return (entry for key, entry in self._entries.items() if (self.folder / key).is_file())

    def has(self, job: Drawn) -> bool:
        """The figure is there as it was drawn, and is the one that would be drawn now."""
        return self._entries.get(self._key(job.file)) == {**job.entry, "crc": crc_or_none(job.file)}

    def add(self, job: Drawn) -> None:
        self._entries[self._key(job.file)] = {**job.entry, "crc": file_crc(job.file)}
        write_whole(self.folder / INDEX, json.dumps(self._entries, indent=1, sort_keys=True))

    def _key(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()
