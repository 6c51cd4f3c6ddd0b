"""Files of a repo, from the hub's cache or into it.

A repo is fetched in two steps, since what is wanted of it depends on what there is: first the files that describe it,
which also tells the commit and all names, then those that are chosen among the names. Of a commit that is in the cache,
neither asks the network.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pure_cli.errors import unknown
from pure_cli.hub.failures import failure_of, no_package, not_here
from pure_cli.hub.names import Repo, parse_file
from pure_cli.hub.patience import impatient
from pure_cli.waiting import waiting_for

CLIENT = "huggingface_hub"


@dataclass(frozen=True)
class Snapshot:
    """A repo at one commit.

    Attributes
    ----------
    repo : with the commit as its revision
    folder : in the cache, with the files that were fetched, by their names in the repo
    names : of all files of the repo, in order; of those that are here, where no more is known
    complete : whether `names` are all of them
    """

    repo: Repo
    folder: Path
    names: Sequence[str]
    complete: bool


def open_snapshot(
    repo: Repo, describing: Sequence[str], enough: Callable[[Sequence[str]], bool] = lambda names: False
) -> Snapshot:
    """Find out what a repo holds.

    Parameters
    ----------
    describing : patterns (of fnmatch) of the small files to fetch at once
    enough : whether files of such names are all that will be wanted; then a commit that was laid into the cache
        without the names of its other files is taken as it is

    Raises
    ------
    PureError, PureFailure
        No such repo or revision, no right to read it, not in the cache and no network.
    """
    if repo.is_commit and (there := _folder_of(repo)) is not None and enough(names := _here(there)):
        return Snapshot(repo, there, names, complete=False)
    folder = _download(repo, describing, f"{repo.text} is")
    commit = replace(repo, revision=folder.name)
    known = _cached_names(commit)
    if known is None:
        return Snapshot(commit, folder, _here(folder), complete=False)
    return Snapshot(commit, folder, known, complete=True)


def fetch(snapshot: Snapshot, names: Iterable[str], folders: Sequence[str] = ()) -> list[Path]:
    """Those files of a snapshot, fetched where they are not here yet.

    Parameters
    ----------
    folders : that hold all of these files, where they are too many to be asked for one by one

    Raises
    ------
    PureFailure
        One of them is not here, and cannot be fetched.
    """
    names = list(names)
    missing = [name for name in names if not (snapshot.folder / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
        what = f"{missing[0]}{more} of {snapshot.repo.text} {'are' if more else 'is'}"
        patterns = [f"{escape(folder)}/*" if folder else "*" for folder in folders]
        _download(snapshot.repo, patterns or [escape(name) for name in missing], what)
        if any(not (snapshot.folder / name).is_file() for name in missing):
            raise not_here(snapshot.repo, what, "the hub does not give it")
    return [snapshot.folder / name for name in names]


@dataclass(frozen=True)
class HubFile:
    """A file of a repo.

    Attributes
    ----------
    path : in the cache
    text : its name with the commit, ``hf:OWNER/NAME@COMMIT/FILE``
    """

    path: Path
    text: str


def fetch_file(text: str) -> HubFile:
    """The file of ``hf:OWNER/NAME/FILE`` or ``hf:OWNER/NAME@REVISION/FILE``.

    Raises
    ------
    PureError, PureFailure
        As of `open_snapshot`, or the repo has no such file.
    """
    repo, name = parse_file(text)
    snapshot = open_snapshot(repo, [escape(name)], enough=lambda names: name in names)
    if snapshot.complete and name not in snapshot.names:
        raise unknown(f"file of {repo.text}", name, snapshot.names)
    (path,) = fetch(snapshot, [name])
    return HubFile(path, f"{snapshot.repo.text}/{name}")


def _download(repo: Repo, patterns: Sequence[str], what: str) -> Path:
    """The folder of a snapshot, with those files; of a commit that is here, without a question to the hub."""
    if find_spec(CLIENT) is None:
        raise no_package(repo.text, CLIENT)
    from huggingface_hub import snapshot_download

    wanted: dict[str, Any] = {"repo_type": repo.kind, "revision": repo.revision, "allow_patterns": list(patterns)}
    if repo.is_commit and _cached_names(repo) is not None:
        try:
            return Path(snapshot_download(repo.name, **wanted, local_files_only=True))
        except OSError:  # some of them are not here
            pass
    waiting_for(f"fetching {repo.text} from the hub")
    try:
        with impatient(None), _quiet():
            return Path(snapshot_download(repo.name, **wanted))
    except Exception as error:  # the client raises errors of many packages
        raise failure_of(repo, error, what) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """A context in which the client says nothing but errors, and draws no bars of progress where nobody looks on."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    bars, verbosity = sys.stderr.isatty() or are_progress_bars_disabled(), logging.get_verbosity()
    logging.set_verbosity_error()
    if not bars:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if not bars:
            enable_progress_bars()


def _folder_of(repo: Repo) -> Path | None:
    """Where the cache has a commit; None where it has none of its files."""
    if find_spec(CLIENT) is None:
        return None
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    named = repo_folder_name(repo_id=repo.name, repo_type=repo.kind)
    folder = Path(constants.HF_HUB_CACHE).expanduser() / named / "snapshots" / repo.revision
    return folder if folder.is_dir() else None


def _cached_names(repo: Repo) -> list[str] | None:
    """The names of all files of a commit, as the cache remembers them."""
    import huggingface_hub

    if not hasattr(huggingface_hub, "get_cached_repo_tree"):  # older ones remember none
        return None
    try:
        tree = huggingface_hub.get_cached_repo_tree(repo.name, repo_type=repo.kind, revision=repo.revision)
    except Exception:  # of this client's own, which older ones have not
        return None
    return sorted(entry.path for entry in tree)


def _here(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
