"""What ``--data`` points at where it is a URL: a file, the files of a pattern, or all that is below a folder."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import cast

from pure_cli.data.place import BRACES, MOST_FILES, SPLIT_MARK, Place, ending, expanded
from pure_cli.errors import PureError
from pure_cli.remote.faults import Missing, watch
from pure_cli.remote.files import RemoteFile
from pure_cli.remote.storage import UNKNOWN, Entry, at_once, entries_below, entry_of
from pure_cli.remote.urls import is_web, joined, name_of, path_of

_OF_FILES = frozenset((
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".parquet", ".npz"),
    *(".txt", ".lst", ".csv", ".tsv"),
))  # fmt: skip


def place_elsewhere(text: str) -> Place:
    """Ask a storage what lies there.

    Parameters
    ----------
    text : a URL without secrets, perhaps with a split behind ``#``

    Raises
    ------
    PureError
        There is nothing, no permission to look, or no package for the protocol.
    PureFailure
        The storage fails again and again.
    """
    watch()
    url, mark, split = text.partition(SPLIT_MARK)
    own = split if mark else None
    if BRACES.search(url) or "*" in url or ("?" in url and not is_web(url)):
        folder, found, below = _of_pattern(url)
        files = [RemoteFile(joined(folder, name), entry) for name, entry in found.items()]
        return _place(text, RemoteFile(folder, None, below), files, own)
    if ending(name_of(url)) in _OF_FILES or (is_web(url) and not path_of(url).endswith("/")):
        try:
            return _of_file(text, url, entry_of(url), own)
        except Missing:
            if is_web(url):
                raise
    below = entries_below(url)
    if not below:
        return _of_file(text, url, entry_of(url), own)
    base = url.rstrip("/")
    return Place(text, cast(Path, RemoteFile(base, None, below)), (), own, base, below)


def _of_file(text: str, url: str, entry: Entry, split: str | None) -> Place:
    folder = RemoteFile(path_of(url).rpartition("/")[0])
    return _place(text, folder, [RemoteFile(url, entry)], split)


def _place(text: str, folder: RemoteFile, files: Sequence[RemoteFile], split: str | None) -> Place:
    unsaid = next((file for file in files if file.known.size == UNKNOWN and ending(file.name) in _OF_FILES), None)
    if unsaid is not None:
        raise PureError(f"The server does not say how long {unsaid} is. Fetch it, and pass the copy with --data.")
    return Place(text, cast(Path, folder), tuple(cast(Path, file) for file in files), split, folder.url)


def _of_pattern(url: str) -> tuple[str, dict[str, Entry], Mapping[str, Entry] | None]:
    """The folder that the files of a pattern are in, these files, and all in the folder where that was asked for."""
    names = list(islice(expanded(url), MOST_FILES + 1))
    if len(names) > MOST_FILES:
        raise PureError(f"The pattern '{url}' names more than {MOST_FILES:,} files. Mend its braces.")
    start = min(at for at in map(url.find, "{*?") if at >= 0)
    folder = url[:start].rpartition("/")[0]
    names = [name[len(folder) + 1 :] for name in names]
    below = None if is_web(url) and "*" not in url else entries_below(folder)
    there = _asked_for(folder, names) if below is None else below
    found: dict[str, Entry] = {}
    missing = []
    for name in names:
        fit = _fitting(name, there)
        found |= fit
        if not fit and not re.search(r"[*?]", name):
            missing.append(name)
    if missing and found:
        raise PureError(
            f"{len(missing)} of the files that '{url}' names are not there, the first of them '{missing[0]}'. "
            "Mend the pattern."
        )
    if not found:
        raise PureError(f"There is no file that fits the pattern '{url}'. Mend the pattern given with --data.")
    return folder, found, below


def _asked_for(folder: str, names: Sequence[str]) -> dict[str, Entry]:
    """Those of some files that are there."""

    def ask(name: str) -> Entry | None:
        try:
            return entry_of(joined(folder, name))
        except Missing:
            return None

    return {name: entry for name, entry in zip(names, at_once(ask, names), strict=True) if entry is not None}


def _fitting(pattern: str, there: Mapping[str, Entry]) -> dict[str, Entry]:
    """The files that a pattern of one name fits, by name; ``*`` and ``?`` are no slash."""
    if pattern in there:
        return {pattern: there[pattern]}
    if not re.search(r"[*?]", pattern):
        return {}
    form = re.compile(re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))
    return {name: entry for name, entry in there.items() if form.fullmatch(name)}
