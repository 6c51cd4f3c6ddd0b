"""Lists that name images by their URLs, and lists that lie elsewhere themselves and name images beside them."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import cast

import numpy as np

from pure_cli.data.labels import from_texts
from pure_cli.data.place import Place
from pure_cli.data.remote_reading import RemoteItems
from pure_cli.data.source import Items
from pure_cli.errors import PureError
from pure_cli.remote.faults import watch
from pure_cli.remote.files import RemoteFile, version_of
from pure_cli.remote.storage import Entry, entries_below
from pure_cli.remote.urls import is_url, is_web, joined, without_secrets
from pure_cli.words import counted, printable

_UNSAID = Entry()


def items_elsewhere(
    place: Place, list_name: str, text: str, rows: Sequence[tuple[str, str]], notes: Sequence[str]
) -> Items:
    """The items of a list, with URLs in it.

    Parameters
    ----------
    place : of the list
    text : all of it
    rows : path or URL, and label

    Raises
    ------
    PureError
        It names files of this machine, too.
    """
    watch()
    labels: dict[str, str] = {}
    for path, label in rows:
        labels.setdefault(_name(place.url, list_name, path), label)
    names = list(labels)
    known = _known(place.url, names)
    sizes = np.array([known.get(name, _UNSAID).size for name in names], np.int64)
    versions = np.array([version_of(known.get(name, _UNSAID)) for name in names], np.int64)
    files = _Named(place.url, names, [known.get(name, _UNSAID) for name in names])
    numbers, classes, order = from_texts(list(labels.values()))
    again = len(rows) - len(names)
    more = [f"{counted(again, 'line')} of '{list_name}' named an image again and were left out."] if again else []
    if not known:
        more.append(
            "The images of a list of URLs are taken for the same as long as the list is: with --verify, they are read "
            "again."
        )
    return Items(
        cast(Path, RemoteFile(place.url)), tuple(names), RemoteItems(files, sizes), numbers, classes,
        sizes if known else None, sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
        times=versions if known else None, order=order, notes=[*notes, *more],
        versioned=bool(known) and all(entry.mark for entry in known.values()),
    )  # fmt: skip


def _name(base: str, list_name: str, path: str) -> str:
    """What an image is called: below the list, or a whole URL without secrets."""
    if is_url(path):
        return without_secrets(path)
    if not base or path.startswith("/") or ".." in path.split("/"):
        where = "beside URLs" if not base else "which is not beside it"
        raise PureError(f"The list '{list_name}' names '{printable(path)}', {where}. Write its URL into the list.")
    return path.removeprefix("./")


def _known(base: str, names: Sequence[str]) -> Mapping[str, Entry]:
    """What a bucket says of the images beside a list; nothing where each would have to be asked for."""
    if not base or is_web(base) or any(is_url(name) for name in names):
        return {}
    there = entries_below(base)
    return {name: there[name] for name in names if name in there}


class _Named:
    """Gives the files of a list, by number."""

    def __init__(self, base: str, names: Sequence[str], entries: Sequence[Entry]) -> None:
        self._base, self._names, self._entries = base, names, entries

    def __call__(self, i: int) -> RemoteFile:
        name = self._names[i]
        return RemoteFile(name if is_url(name) else joined(self._base, name), self._entries[i])
