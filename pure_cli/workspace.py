"""The store: a folder of HDF5 files, each replaced as a whole, each knowing what it was made from.

The only code that opens HDF5. What is in the files (names and shapes) is in ``artifacts.py``.
"""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
from filelock import FileLock, Timeout

from pure_cli import __version__
from pure_cli.checksums import Input, Output, foreign_content
from pure_cli.errors import PureError, UnreadableFile, first_line
from pure_cli.files import TEMPORARY, can_lock, disk_errors, is_read_only, temporary_beside, write_failure
from pure_cli.interrupts import stops_held_back
from pure_cli.provenance import SCHEMA, Provenance

STAGE_FILES = ("collect", "attribute", "crops", "embed", "cluster", "assign", "evaluate", "compare", "labels", "audit")
MADE_BY = {"crops": "embed", "labels": "label"}  # the command that makes a file, where it has another name
LOCK, LOCK_POLL = ".lock", 0.2  # a file, and seconds
READ_AT_ONCE = 1 << 20  # bytes
ODD_NAMES = "surrogateescape"  # file names that are no UTF-8 keep their bytes
FORMAT = ("v110", "v110")  # of HDF5: the first whose own structures have checksums; older readers are rare by now
UNREADABLE = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
)  # raised where a file is damaged
GROWN = 1 << 10  # numbers in a block of a data set that grows
PARTIAL = ".partial"  # folder of unfinished work
PARTS = "parts"  # folder of what several processes do at the same time, each its own files
_without_links: set[tuple[int, ...]] = set()
NO_FOLDER = "The workspace {} is a file. Choose a folder with --workspace."


class Store:
    """One workspace folder.

    Parameters
    ----------
    root : the folder; it need not exist before something is written
    place : what its user calls it, where that is something else: the URL that the folder is a copy of
    """

    def __init__(self, root: Path | str, place: str = ""):
        self.root = Path(root)
        self.place = place or str(self.root)

    def path(self, name: str) -> Path:
        return self.root / f"{name}.h5"

    def has(self, name: str) -> bool:
        path = self.path(name)
        return path.is_file() or path.is_dir()  # a pipe would keep whoever opens it waiting

    def require_folder(self) -> None:
        """Make sure that there is a workspace.

        Raises
        ------
        PureError
            There is none.
        """
        if not self.root.exists():
            raise PureError(f"There is no workspace {self.place}. Run `pure collect` first, or name another one.")
        if not self.root.is_dir():
            raise PureError(NO_FOLDER.format(self.root))

    def require(self, name: str) -> None:
        """Make sure that a file is there.

        Raises
        ------
        PureError
            It is not.
        """
        self.require_folder()
        if not self.has(name):
            command = MADE_BY.get(name, name)
            raise PureError(f"The workspace {self.place} has no {self.path(name).name}. Run `pure {command}` first.")

    def remake(self, name: str) -> str:
        """What to do where a file is damaged."""
        with_options = " and its --model and --data" if name == "collect" else ""
        return f"Make it again with `pure {MADE_BY.get(name, name)} --force`{with_options}."

    @contextmanager
    def read(self, name: str) -> Iterator[h5py.File]:
        """Open a file of the workspace for reading.

        Raises
        ------
        PureError
            The file is missing, damaged, or written by a newer pure.
        """
        self.require(name)
        path, remake = self.path(name), self.remake(name)
        with ExitStack() as opened:
            try:
                content = opened.enter_context(Input(path))
                file = opened.enter_context(h5py.File(content, "r"))
            except PermissionError:
                raise PureError(f"{path} may not be read: permission denied.") from None
            except UNREADABLE:
                raise UnreadableFile(
                    f"{path} is no readable HDF5 file: damaged, cut short or something else. {remake}"
                ) from None
            try:
                _check_schema(path, file, remake)
                _check_links(path, file, content.fileno())
                yield file
            except UNREADABLE as error:
                raise UnreadableFile(f"{path} is damaged ({first_line(error)}). {remake}") from error

    def check(self, name: str) -> None:
        """Read a file of the workspace from its beginning to its end, and hold it against its checksums.

        Raises
        ------
        PureError
            It is missing, or damaged.
        """
        buffer = bytearray(READ_AT_ONCE)
        with self.read(name), Input(self.path(name)) as content:
            while content.readinto(buffer):
                pass

    @contextmanager
    def replace(self, name: str) -> Iterator[h5py.File]:
        """Write a new file that takes the old one's place, as a whole, when the block ends well.

        A process that is killed meanwhile leaves the old file.
        """
        self.prepare()
        path = self.path(name)
        temporary = temporary_beside(path)
        with disk_errors(path):
            output = Output(temporary, "w+")
        try:
            with output:
                with stops_held_back(Output.write, Output.truncate) as stops:
                    file = h5py.File(output, "w", libver=FORMAT)
                    try:
                        file.attrs["schema"] = SCHEMA
                        file.attrs["pure_version"] = __version__
                        with stops:
                            yield file
                    finally:
                        file.close()
                output.finish()
            temporary.replace(path)
        except Exception as error:
            failure = output.failure or error
            if isinstance(failure, OSError):
                raise write_failure(path, failure) from error
            raise
        finally:
            temporary.unlink(missing_ok=True)

    def rewrite(self, name: str, write: Callable[[h5py.File, h5py.File | None], None], anew: bool = False) -> None:
        """Replace a file by one that is written with the old one at hand.

        Parameters
        ----------
        write : called with the new file, and the old one, None where there is none
        anew : where the old one cannot be read, go on without it
        """
        try:
            with self.replace(name) as new:
                if self.has(name):
                    with self.read(name) as old:
                        write(new, old)
                else:
                    write(new, None)
        except UnreadableFile:
            if not anew:
                raise
            with self.replace(name) as new:
                write(new, None)

    def prepare(self) -> None:
        """Make the folder; say why when it cannot be made or written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            there = next(path for path in (self.root, *self.root.parents) if path.exists())
            if there != self.root:
                raise PureError(f"No workspace can lie in {there}, which is a file. Choose a folder.") from None
            raise PureError(NO_FOLDER.format(self.root)) from None
        except OSError as error:
            raise PureError(f"The workspace {self.root} cannot be made: {error.strerror}.") from None
        if not os.access(self.root, os.W_OK):
            why = "the disk is read-only" if is_read_only(self.root) else "permission denied"
            raise PureError(f"The workspace {self.root} may not be written: {why}.")

    @contextmanager
    def lock(self, stage: str, waiting: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Hold the workspace for writing; where another process holds it, say so once and wait.

        The lock belongs to the operating system and ends with the process that held it, however that ended.
        """
        self.prepare()
        place = self.root / LOCK
        if place.exists() and not place.is_file():
            raise PureError(f"{place} is no file, and nothing that pure made. Remove it.")
        lock = FileLock(place)
        owner = self.root / ".lock-owner"
        if not can_lock(place):
            waiting(f"The disk of {self.root} has no file locks. Let no two commands work on it at the same time.")
            yield
            return
        try:
            self._acquire(lock, 0)
        except Timeout:
            who = "another process"
            with suppress(OSError):
                who = owner.read_text(encoding="utf-8").strip() or who
            waiting(f"{who} is at work in {self.root}; waiting for it to finish.")
            self._acquire(lock)
        except OSError as error:
            raise PureError(f"The workspace {self.root} cannot be locked: {error.strerror}.") from None
        try:
            with suppress(OSError):
                owner.write_text(f"pure {stage} (process {os.getpid()} on {socket.gethostname()})\n", encoding="utf-8")
            self._tidy()
            yield
        finally:
            for tidy in (owner.unlink, (self.root / PARTIAL).rmdir):  # the latter where nothing is in it
                with suppress(OSError):
                    tidy()
            lock.release()

    def _acquire(self, lock: FileLock, timeout: float = -1) -> None:
        try:
            lock.acquire(timeout=timeout, poll_interval=LOCK_POLL)
        except FileNotFoundError:  # the process that held it has removed the folder, as where a part is done
            self.prepare()
            lock.acquire(timeout=timeout, poll_interval=LOCK_POLL)

    def _tidy(self) -> None:
        """Remove what processes left that were killed as they wrote; those at parts may still be alive."""
        for left in self.root.rglob(f".*{TEMPORARY}"):
            if self.root / PARTS not in left.parents:
                with suppress(OSError):
                    left.unlink()

    def partial(self, name: str) -> Path:
        """Folder for the unfinished work called `name` (made when it is not there)."""
        self.prepare()
        folder = self.root / PARTIAL / name
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def partials(self, beginning: str) -> list[Path]:
        """The folders of unfinished work whose names begin so."""
        return sorted((self.root / PARTIAL).glob(f"{beginning}*"))

    def drop_partial(self, name: str) -> None:
        shutil.rmtree(self.root / PARTIAL / name, ignore_errors=True)
        with suppress(OSError):
            (self.root / PARTIAL).rmdir()


def write_provenance(node: h5py.Group, provenance: Provenance) -> None:
    """Write what a file or group depends on, and its fingerprint, as attributes."""
    node.attrs["settings"] = json.dumps(provenance.settings, sort_keys=True, default=str)
    node.attrs["made_from"] = json.dumps(provenance.made_from, sort_keys=True, default=str)
    node.attrs["fingerprint"] = provenance.fingerprint


def read_provenance(node: h5py.Group) -> Provenance:
    """Of a file or group, held against the fingerprint: HDF5 has no checksum on text of any length."""
    found = Provenance(json.loads(node.attrs["settings"]), json.loads(node.attrs["made_from"]))
    if node.attrs["fingerprint"] != found.fingerprint:
        raise ValueError(f"the fingerprint of {node.name} does not fit what it was made from")
    return found


def _check_schema(path: Path, file: h5py.File, remake: str) -> None:
    schema = file.attrs.get("schema")
    if not isinstance(schema, int | np.integer):
        raise UnreadableFile(f"{path} was not written by pure. Move it away, or choose another --workspace.")
    if schema > SCHEMA:
        raise UnreadableFile(
            f"{path} has schema {schema}, and this pure ({__version__}) knows {SCHEMA}. "
            "Update pure, or choose another --workspace."
        )
    if schema < SCHEMA:
        raise UnreadableFile(
            f"{path} was written by an older pure (schema {schema}); this one writes {SCHEMA}. {remake}"
        )


def _check_links(path: Path, file: h5py.File, descriptor: int) -> None:
    """Once for each file as it is on the disk: where features are read neuron by neuron, it is opened often."""
    now = os.fstat(descriptor)
    state = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    if state in _without_links:
        return
    outside = foreign_content(file)
    if outside is None:
        _without_links.add(state)
    else:
        raise UnreadableFile(
            f"{path} refers to other places ('{outside}'), which pure never writes and does not follow. "
            "Move it away, or choose another --workspace."
        )


def write_array(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    """A data set with a checksum on every block of it."""
    values = np.asarray(values)
    if values.ndim == 0 or values.size == 0:
        return group.create_dataset(name, data=values)
    return group.create_dataset(name, data=values, fletcher32=True)


def empty_rows(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """A data set with a checksum, to be filled row by row of its first axis."""
    return group.create_dataset(name, shape, dtype, chunks=(1, *shape[1:]), fletcher32=True)


def grow_array(group: h5py.Group, name: str, dtype: str) -> Callable[[np.ndarray], None]:
    """A data set (M,) with a checksum, empty yet; what is returned appends values to it."""
    dataset = group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(GROWN,), fletcher32=True)

    def append(values: np.ndarray) -> None:
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values

    return append


def read_texts(dataset: h5py.Dataset) -> list[str]:
    return [value.decode("utf-8", ODD_NAMES) for value in dataset[:]]


def write_texts(group: h5py.Group, name: str, values: list[str]) -> None:
    """Texts of one length each, padded: those of any length would be outside of the checksums."""
    encoded = [value.encode("utf-8", ODD_NAMES) for value in values]
    longest = max(map(len, encoded), default=0)
    write_array(group, name, np.array(encoded, dtype=h5py.string_dtype("utf-8", max(1, longest))))
