"""Data sets of the Hugging Face hub: ``hf:OWNER/NAME``, with a configuration, a revision and a split.

The files of the split are fetched into the hub's cache, and read there by the source that reads such files.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from pure_cli.data.cache import Cache
from pure_cli.data.hub_layout import IMAGES, SAME, TABLE, Layout, Split, class_names, default_config, layout_of
from pure_cli.data.long_lists import in_parts
from pure_cli.data.place import Place, find_place
from pure_cli.data.registry import source_of
from pure_cli.data.source import Items
from pure_cli.errors import LISTED, PureError
from pure_cli.hub.failures import not_here
from pure_cli.hub.fetch import Snapshot, fetch, open_snapshot
from pure_cli.hub.names import AT, MAIN, MARK, Repo

CARD = "README.md"
CONVERTED = "refs/convert/parquet"  # the branch on which the hub keeps a copy in Parquet of what is none
SPLIT = ":"


@dataclass(frozen=True)
class HubName:
    """What ``hf:OWNER/NAME/CONFIG@REVISION:SPLIT`` names.

    Attributes
    ----------
    config, split : "" where none is named
    """

    repo: Repo
    config: str = ""
    split: str = ""

    @property
    def text(self) -> str:
        """As the user writes it."""
        named = f"{MARK}{self.repo.name}" + (f"/{self.config}" if self.config else "")
        revision = f"{AT}{self.repo.revision}" if self.repo.revision != MAIN else ""
        return named + revision + (f"{SPLIT}{self.split}" if self.split else "")


def parse_dataset(text: str) -> HubName:
    """What a name means.

    Raises
    ------
    PureError
        It cannot be that of a data set on the hub.
    """
    named, _, split = text.removeprefix(MARK).partition(SPLIT)
    path, _, revision = named.partition(AT)
    name, config = "/".join(path.split("/")[:2]), "/".join(path.split("/")[2:])
    return HubName(Repo(name, "dataset", revision or MAIN), config, split)


class HubDataset:
    """A data set on the hub whose files are Parquet, tar shards or images."""

    name = "a data set of the Hugging Face hub"
    has_splits = False  # those of ``hf:NAME:SPLIT`` are its own
    order = 1

    def claims(self, place: Place) -> bool:
        return place.url.startswith(MARK) and "://" not in place.url

    def list(self, place: Place, cache: Cache) -> Items:
        wanted = parse_dataset(place.url)
        snapshot, layout, card = _look(wanted)
        config = _chosen("configuration", wanted, layout, default_config(card))
        wanted = replace(wanted, config=config if len(layout) > 1 else "")
        split = _chosen("split", wanted, layout[config])
        files = _fetched(snapshot, layout[config][split])
        local = _local(snapshot, layout[config][split], files)
        items = source_of(local).list(local, cache)
        named = HubName(snapshot.repo, wanted.config, split if len(layout[config]) > 1 else "")
        identity = f"{items.identity} {_content(snapshot, files)}".strip()
        notes = [*items.notes, *_of_tables(snapshot, layout[config][split])]
        return replace(_with_names(items, class_names(card, config)), data=named.text, identity=identity, notes=notes)


def _look(wanted: HubName) -> tuple[Snapshot, Layout, dict[str, Any]]:
    """The repo, what splits it has, and its card; of the hub's own copy in Parquet where it has no files of use.

    Raises
    ------
    PureError
        Neither has.
    """
    first = open_snapshot(wanted.repo, [CARD])
    card = _card(first.folder / CARD)
    layout = layout_of(first.names, card)
    if layout or not first.names:
        pass
    elif wanted.repo.revision == MAIN:
        copy = replace(wanted.repo, revision=CONVERTED)
        try:
            snapshot = open_snapshot(copy, [CARD])
        except PureError:
            raise _no_files(wanted, first) from None
        return snapshot, layout_of(snapshot.names, {}), card
    if not layout:
        raise _no_files(wanted, first)
    return first, layout, card


def _no_files(wanted: HubName, snapshot: Snapshot) -> PureError:
    names = list(snapshot.names)
    there = f"{', '.join(names[:LISTED])}{', …' if len(names) > LISTED else ''}" or "nothing"
    return PureError(
        f"{wanted.text} has no Parquet files, tar shards or images that pure reads; it has {there}. Load it with the "
        "package datasets, and pass what save_to_disk writes."
    )


def _card(file: Path) -> dict[str, Any]:
    """The metadata in front of a README; nothing where there is none that can be read."""
    try:
        before, mark, rest = file.read_text(encoding="utf-8").partition("---\n")
        found = yaml.safe_load(rest.partition("\n---")[0]) if mark and not before.strip() else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _chosen(what: str, wanted: HubName, there: "Layout | dict[str, Split]", usual: str = "") -> str:
    """A configuration or a split by name, the usual one, or the only one.

    Raises
    ------
    PureError
        There are several, or not that one; the message lists them.
    """
    name = wanted.split if what == "split" else wanted.config
    if name in there or (name := SAME.get(name, name)) in there:
        return name
    if not name and (len(there) == 1 or usual in there):
        return usual if usual in there else next(iter(there))
    known = list(there)[:LISTED]
    of = {one: replace(wanted, split=one) if what == "split" else replace(wanted, config=one) for one in known}
    listed = ", ".join(known) + (", …" if len(there) > LISTED else "")
    ask = " or ".join(f"--data '{way.text}'" for way in list(of.values())[:2])
    if not name:
        raise PureError(f"'{wanted.text}' has several {what}s: {listed}. Name one: {ask}.")
    raise PureError(f"'{wanted.text}' has no {what} '{name}', only: {listed}. Pass {ask}.")


def _fetched(snapshot: Snapshot, split: Split) -> list[Path]:
    """The files of a split, in the cache.

    Raises
    ------
    PureFailure
        Some are not there, and cannot be fetched.
    """
    if not snapshot.complete and split.absent > 0:
        what = f"{split.absent} of the files of {snapshot.repo.text} are"
        raise not_here(snapshot.repo, what, "the hub cannot be reached")
    return fetch(snapshot, split.names, [split.folder] if split.kind == IMAGES else ())


def _local(snapshot: Snapshot, split: Split, files: Sequence[Path]) -> Place:
    """Where the files of a split are, as another source takes it."""
    if split.kind == IMAGES:
        return find_place(snapshot.folder / split.folder)
    folder = os.path.commonpath([file.parent for file in files])
    return Place(folder, files[0] if len(files) == 1 else Path(folder), tuple(files))


def _of_tables(snapshot: Snapshot, split: Split) -> list[str]:
    """A sentence on a table beside images, which may have labels."""
    beside = f"{split.folder}/{TABLE}".lstrip("/")
    there = [name for name in snapshot.names if name.startswith(beside)] if split.kind == IMAGES else []
    return [f"{there[0]} is not read; labels are those of the class folders."] if there else []


def _content(snapshot: Snapshot, files: Sequence[Path]) -> str:
    """Changes when the content of the files does, whatever the commit: the cache calls files by their hashes. Where
    they are copies, the commit."""
    if not all(file.is_symlink() for file in files):
        return snapshot.repo.revision
    digest = sha256()
    for file in files:
        digest.update(f"{file.relative_to(snapshot.folder).as_posix()} {file.readlink().name}\0".encode())
    return digest.hexdigest()


def _with_names(items: Items, names: tuple[str, ...]) -> Items:
    """The items with the names of their classes from the card, where the files do not have them."""
    if items.labels is None or items.names or not names:
        return items
    top = max((int(part.max(initial=-1)) for part in in_parts(items.labels)), default=-1)  # type: ignore[arg-type]
    return replace(items, names=names) if top < len(names) else items


SOURCE = HubDataset()
