"""What the parts of a stage's work have in common: that they are of the same work, and cover all of it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pure_cli.artifacts import PartHeader, PartStore, read_headers
from pure_cli.core.parts import Part, gaps
from pure_cli.embedders.spec import with_whole_path
from pure_cli.errors import PureError
from pure_cli.provenance import COMPONENTS
from pure_cli.settings.parts import InParts
from pure_cli.stages.runtime.images import place_of
from pure_cli.words import counted, listed
from pure_cli.workspace import LOCK, MADE_BY, PARTIAL, Store

UNFINISHED = ".unfinished"  # folder of parts that are being made
NAMED = 8  # parts that a message names
DIFFERENCES = {
    **COMPONENTS,
    "state": "the weights",
    "layers": "the layers (--layer)",
    "directions": "the directions",
    "bands": "the bands (--quantiles)",
    "device": "the kind of device (--device)",
    "pixels": "the size of the images",
    "neurons": "the neurons (--neurons)",
    "lower_layers": "the lower layers (--lower-layer)",
    "settings": "the settings",
}
STAGES_WITH_PARTS = ("collect", "attribute", "crops", "embed", "assign")
_OPTIONS, _PATHS = "options", ("data", "weights", "directions", "embedder_weights")
_PROGRAMS = ("model", "embedder")  # FILE.py:FUNCTION
Way = tuple[int, int]  # images at once, and threads of torch
_HOW_TO_RUN = {"part", "on", "parts", "force", "verify", "device", "workers"}  # which the one who merges says


class PartsMissing(PureError):
    """What is to be put together is not all there.

    Attributes
    ----------
    images : that are in no part yet
    total : of the work
    parts : that are missing, where some are there; none where it has not been cut yet
    """

    def __init__(self, message: str, images: int, total: int, parts: list[Part]):
        super().__init__(message)
        self.images, self.total, self.parts = images, total, parts


def part_place(workspace: Store, stage: str, part: Part) -> Store:
    """Where the unfinished work of a part lies, with a lock of its own."""
    return Store(PartStore(workspace).root / UNFINISHED / f"{MADE_BY.get(stage, stage)}-{part.file_name}")


@contextmanager
def alone_with_part(
    workspace: Store, stage: str, part: Part, waiting: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """A context in which no other process does the same part; at its end, nothing of it is unfinished any more."""
    place, parts = part_place(workspace, stage, part), PartStore(workspace).root
    with place.lock(f"{stage} --part {part}", waiting):
        yield
        shutil.rmtree(place.root / PARTIAL, ignore_errors=True)
    for tidy in ((place.root / LOCK).unlink, place.root.rmdir, place.root.parent.rmdir, parts.rmdir):
        with suppress(OSError):  # where another process does it again
            tidy()


def portable_options(settings: InParts) -> dict[str, Any]:
    """The options of a stage but for how it is run, JSON-like: with them, a process anywhere does the same work."""
    options = settings.model_dump(mode="json", exclude=_HOW_TO_RUN, exclude_none=True)
    places = {name: place_of(getattr(settings, name)) for name in _PATHS if options.get(name) is not None}
    named = {name: options[name] for name in _PROGRAMS if name in options}
    programs = {
        name: with_whole_path(value) if isinstance(value, str) else [with_whole_path(one) for one in value]
        for name, value in named.items()
    }
    return {**options, **places, **programs}


def remembered(settings: InParts, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options of a part, for `merge`: with them, the whole is what one process would have made; JSON-like.

    Parameters
    ----------
    known : what some options have turned out to mean
    """
    exact = {name: value for name, value in (known or {}).items() if value is not None}
    return {_OPTIONS: {**portable_options(settings), **exact}}


def options_of(header: PartHeader) -> dict[str, Any]:
    """What `remembered` put there."""
    return dict(header.more[_OPTIONS])


def same_parts(store: Store, stage: str, now: Mapping[str, Any], whole_ones: bool = True) -> list[PartHeader]:
    """The parts of a stage, in the order of the images.

    Parameters
    ----------
    now : what the work is, or as much of it as is known
    whole_ones : leave out those that are damaged, which are to be made again

    Raises
    ------
    PureError
        One of them is of other work, or damaged.
    """
    headers = read_headers(store, stage, whole_ones)
    for header in headers:
        if different := differences(header.what, {**headers[0].what, **now}):
            raise other_pass(PartStore(store).path(header.name), different)
    return headers


def other_pass(path: Path, different: Sequence[str]) -> PureError:
    """The error for a part of other work.

    Parameters
    ----------
    different : in words
    """
    return PureError(
        f"{path} is a part of other work: {listed(different)} {'differ' if len(different) > 1 else 'changed'}. Merge "
        "the parts of that work first (`pure merge`), or remove them."
    )


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, what of the things that are known now was another one."""
    ours, theirs = _flat(now), _flat(then)
    names = [name for name in ours if ours[name] != theirs.get(name)]
    return list(dict.fromkeys(DIFFERENCES.get(name, DIFFERENCES["settings"]) for name in names))


def _flat(what: Mapping[str, Any]) -> dict[str, Any]:
    """With what things are made from and how as things of their own."""
    found: dict[str, Any] = {}
    for name, value in what.items():
        found |= value if name in ("made_from", "how") and isinstance(value, dict) else {name: value}
    return found


def missing_parts(headers: Sequence[PartHeader], total: int) -> list[Part]:
    """The parts that nobody has done yet: of the number of parts that most were cut into."""
    holes = gaps((header.range for header in headers), total)
    if not holes or not headers:
        return []
    count = Counter(header.part.count for header in headers).most_common(1)[0][0]
    ours = {header.part.number: header for header in headers if header.part.count == count}
    found = []
    for number in range(1, count + 1):
        if number in ours:
            continue
        start = max((own.stop for other, own in ours.items() if other < number), default=0)
        stop = min((own.start for other, own in ours.items() if other > number), default=total)
        if any(begin < stop and start < end for begin, end in holes):
            found.append(Part(count, number))
    return found


def require_all(headers: Sequence[PartHeader], total: int, stage: str) -> None:
    """
    Raises
    ------
    PartsMissing
        Some are.
    """
    holes = gaps((header.range for header in headers), total)
    if not holes:
        return
    images, missing = sum(stop - start for start, stop in holes), missing_parts(headers, total)
    said = options_of(headers[0]).get("neurons") if headers else None  # there may be parts of others
    of = f"`pure {stage}{f' --neurons {said}' if said else ''}`"
    rest = (
        f"{_named(missing)} Run them, or that" if missing else "The parts were cut at batches of other sizes. Run that"
    )
    raise PartsMissing(
        f"Of {total:,} images, {images:,} are in no part of {of} yet. {rest} without --part, which does the rest and "
        "merges.",
        images,
        total,
        missing,
    )


def _named(missing: Sequence[Part]) -> str:
    """A sentence on the parts that are missing; "" where none is."""
    if not missing:
        return ""
    named = listed([str(part) for part in missing[:NAMED]] + (["others"] if len(missing) > NAMED else []))
    return f"{counted(len(missing), 'part')} {'is' if len(missing) == 1 else 'are'} missing: {named}."


def told(store: Store) -> tuple[list[dict[str, Any]], list[str]]:
    """What parts a workspace holds that are not put together: "stage", "done" parts, "images" in them and "of" how
    many, "missing" parts; and what is wrong with their files, in sentences."""
    found, problems = [], []
    for stage in STAGES_WITH_PARTS:
        try:
            headers = read_headers(store, stage)
        except PureError as error:
            problems.append(str(error))
            continue
        for key in dict.fromkeys(header.key for header in headers):
            own = [header for header in headers if header.key == key]
            total = own[0].total
            lacking = sum(stop - start for start, stop in gaps((header.range for header in own), total))
            missing = [str(part) for part in missing_parts(own, total)]
            found.append({"stage": stage, "done": len(own), "images": total - lacking, "of": total, "missing": missing})
    return found, problems


def empty_notes(headers: Sequence[PartHeader]) -> list[str]:
    """A sentence on a part that has no images."""
    if not headers or any(header.stop > header.start for header in headers):
        return []
    return [f"Part {headers[0].part} has no images: there are more parts than batches of images."]


def ways_of(headers: Sequence[PartHeader]) -> list[Way]:
    """How the parts that have images were computed."""
    return [(header.batch_size, header.threads) for header in headers if header.stop > header.start]


def threads_on(device: str) -> int:
    """Threads of torch that an operation is shared among on a CPU; 0 on other devices."""
    import torch

    return torch.get_num_threads() if device.startswith("cpu") else 0


def unlike_notes(ways: Sequence[Way]) -> list[str]:
    """Sentences on parts that were computed in batches of different sizes, or with different numbers of threads."""
    sizes, threads = (sorted(set(values)) for values in (zip(*ways, strict=True) if ways else ((), ())))
    found = []
    if len(sizes) > 1:
        found.append((f"in batches of {listed([str(size) for size in sizes])} images", "--batch-size"))
    if len(threads) > 1:
        found.append((f"with {listed([str(count) for count in threads])} threads", "OMP_NUM_THREADS"))
    return [
        f"The parts were computed {how}: what one process would give may differ in the last digits. {option} makes "
        "them the same."
        for how, option in found
    ]
