"""The files of a network of transformers, in a repo of the Hugging Face hub or in a folder (no torch here)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pure_cli.errors import LISTED, PureError, first_line
from pure_cli.files import is_pointer
from pure_cli.hub.fetch import Snapshot, fetch, fetch_file, open_snapshot
from pure_cli.hub.names import MARK, parse_repo
from pure_cli.models.spec import HUB, PART, ModelSpec, file_fingerprint

CONFIG = "config.json"
PROCESSORS = (
    "preprocessor_config.json",
    "processor_config.json",
)  # how images are prepared; the second since version 5
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there; in parts where an index is
INDEX = ".index.json"  # behind the name of weights in parts
DESCRIBING = (CONFIG, *PROCESSORS, *(f"{name}{INDEX}" for name in WEIGHTS))


@dataclass(frozen=True)
class RepoFiles:
    """What a repo or a folder holds.

    Attributes
    ----------
    text : its name, as the user writes it
    folder : where its files are, those that describe the network at least
    names : of all files
    snapshot : of a repo
    """

    text: str
    folder: Path
    names: Sequence[str]
    snapshot: Snapshot | None = None

    def config(self) -> dict[str, Any]:
        """What ``config.json`` says."""
        return _json(self.folder / CONFIG)

    def described(self) -> list[Path]:
        """The files that say what the network is, and how it wants its images."""
        return [self.folder / name for name in (CONFIG, *PROCESSORS) if name in self.names]

    def weights(self) -> list[Path]:
        """The files of the weights, fetched where they are not here yet.

        Raises
        ------
        PureError
            There are none that can be read.
        """
        names = self._weights_names()
        files = [self.folder / name for name in names] if self.snapshot is None else fetch(self.snapshot, names)
        for file in files:
            if not file.is_file():
                raise PureError(f"{self.text} has no {file.name}, which its index names. Fetch it again.")
            if is_pointer(file):
                raise PureError(f"{file} is a Git LFS pointer and no weights. Run 'git lfs pull' where it comes from.")
        return files

    def _weights_names(self) -> list[str]:
        for name in WEIGHTS:
            if name in self.names:
                return [name]
            if f"{name}{INDEX}" in self.names:
                parts = _json(self.folder / f"{name}{INDEX}").get("weight_map")
                named = {str(part) for part in parts.values()} if isinstance(parts, dict) else set()
                if not named or any(part != Path(part).name for part in named):
                    raise PureError(f"{name}{INDEX} of {self.text} is damaged. Fetch it again.")
                return sorted(named)
        raise PureError(
            f"{self.text} has no {' or '.join(WEIGHTS)}; it has {_listed(self.names)}. Pass weights with --weights "
            "FILE."
        )


def repo_files(spec: ModelSpec) -> RepoFiles:
    """Look what a model's repo or folder holds, and fetch what describes the network.

    Raises
    ------
    PureError, PureFailure
        It is not there, cannot be reached, or holds no network.
    """
    if spec.folder is not None:
        names = sorted(file.name for file in spec.folder.iterdir()) if spec.folder.is_dir() else []
        found = RepoFiles(str(spec), spec.folder, names)
    else:
        snapshot = open_snapshot(parse_repo(spec.name), DESCRIBING, enough=_has_all)
        found = RepoFiles(str(spec), snapshot.folder, snapshot.names, snapshot)
    if CONFIG not in found.names:
        raise PureError(
            f"{spec} has no {CONFIG}, so it holds no network of transformers; it has {_listed(found.names)}."
        )
    return found


def pinned(spec: ModelSpec) -> ModelSpec:
    """A model of a repo at the commit that its revision means now, so that all stages have the same one; any other
    model as it is."""
    if spec.kind != HUB or spec.folder is not None or parse_repo(spec.name).is_commit:
        return spec
    snapshot = repo_files(spec).snapshot
    assert snapshot is not None, "it is no folder"
    return replace(spec, name=snapshot.repo.text.removeprefix(MARK))


def pinned_file(place: Path | None) -> Path | None:
    """A file of the hub, or ``FILE#KEY``, with the commit that it means now; any other as it is."""
    if place is None or not str(place).startswith(MARK):
        return place
    file, mark, part = str(place).partition(PART)
    return Path(fetch_file(file).text + mark + part)


def here(place: Path | str) -> Path:
    """A file on this machine, or ``FILE#KEY``: one of the hub in its cache, any other as it is."""
    if not str(place).startswith(MARK):
        return Path(place)
    file, mark, part = str(place).partition(PART)
    return Path(f"{fetch_file(file).path}{mark}{part}")


def described_fingerprint(spec: ModelSpec) -> str:
    """What identifies the architecture: the content of the files that describe it, whatever the commit."""
    return f"{HUB} {_fingerprint(repo_files(spec).described())}"


def repo_weights_fingerprint(spec: ModelSpec) -> str:
    """What identifies the weights of a repo: their content, whatever the commit."""
    return _fingerprint(repo_files(spec).weights())


def _has_all(names: Sequence[str]) -> bool:
    """Whether files of such names are a whole network; parts are counted when they are wanted."""
    return CONFIG in names and any(name in names or f"{name}{INDEX}" in names for name in WEIGHTS)


def _fingerprint(files: Iterable[Path]) -> str:
    return sha256(" ".join(f"{file.name} {file_fingerprint(file)}" for file in files).encode()).hexdigest()[:32]


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PureError(f"{file} cannot be read ({first_line(error)}). Fetch it again.") from None
    if not isinstance(found, dict):
        raise PureError(f"{file} is damaged. Fetch it again.")
    return found


def _listed(names: Sequence[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}" if names else "no files"
