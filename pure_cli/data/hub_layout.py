"""Which files of a data set on the hub belong to which split: by what its card says, else by their names."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pure_cli.data.source import EXTENSIONS

PARQUET, TARS, IMAGES = "parquet", "tars", "images"
KINDS = {PARQUET: (".parquet",), TARS: (".tar",), IMAGES: EXTENSIONS}  # in the order in which they are looked for
DEFAULT, TRAIN = "default", "train"  # configuration and split of what says none
SAME = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}  # words for splits, as the package `datasets` reads them
TABLE = "metadata."  # how the names of tables begin that say more of the images beside them
NO_CONFIG = ("", "data")  # folders that name no configuration

_PARTS = re.compile(r"(.+?)-([0-9]+)-of-([0-9]+)(?:[.-].*)?")  # train-00000-of-00002-0123abcd.parquet
_WORD = re.compile(r"[A-Za-z]+")


@dataclass
class Split:
    """The files of a split.

    Attributes
    ----------
    kind : of the files
    names : of them, in the repo, in order
    folder : of images, the one that their class folders are in
    """

    kind: str
    names: list[str] = field(default_factory=list)
    folder: str = ""

    @property
    def absent(self) -> int:
        """How many files there must be beside these, as their names count them."""
        found = [match for name in self.names if (match := _PARTS.fullmatch(PurePosixPath(name).name))]
        return max((int(match[3]) for match in found), default=0) - len(found) if len(found) == len(self.names) else 0


Layout = dict[str, dict[str, Split]]
"""Splits by configuration and name."""


def layout_of(names: Sequence[str], card: Mapping[str, Any]) -> Layout:
    """Configurations and splits of a data set; none where it has no files that are read.

    Parameters
    ----------
    names : of all files
    card : the metadata of its README
    """
    names = [name for name in names if not name.rpartition("/")[2].startswith(TABLE)]
    configs = card.get("configs")
    said = _as_said(names, configs) if isinstance(configs, list) else {}
    return said or _by_name(names)


def default_config(card: Mapping[str, Any]) -> str:
    """The configuration that stands for none."""
    configs = card.get("configs")
    for config in configs if isinstance(configs, list) else ():
        if isinstance(config, dict) and config.get("default"):
            return str(config.get("config_name", DEFAULT))
    return DEFAULT


def class_names(card: Mapping[str, Any], config: str) -> tuple[str, ...]:
    """The names of the classes, where the card has those of one column only."""
    infos = card.get("dataset_info")
    found = []
    for info in infos if isinstance(infos, list) else [infos]:
        if isinstance(info, dict) and info.get("config_name", config) == config:
            found += [names for one in info.get("features") or () if (names := _names_in(one))]
    return found[0] if len(found) == 1 else ()


def _names_in(feature: Any) -> tuple[str, ...]:
    try:
        names = feature["dtype"]["class_label"]["names"]
        return (
            tuple(str(names[str(i)]) for i in range(len(names))) if isinstance(names, dict) else tuple(map(str, names))
        )
    except (TypeError, KeyError):
        return ()


def _as_said(names: Sequence[str], configs: Iterable[Any]) -> Layout:
    """What a card says: for each configuration, patterns for each split."""
    found: Layout = {}
    for config in configs:
        if not isinstance(config, dict):
            continue
        for split, patterns in _patterns(config.get("data_files")):
            fitting = [_expression(pattern) for pattern in patterns]
            chosen = [name for name in names if any(one.fullmatch(name) for one in fitting)]
            for kind, endings in KINDS.items():
                own = [name for name in chosen if name.lower().endswith(endings)]
                if own:
                    splits = found.setdefault(str(config.get("config_name", DEFAULT)), {})
                    splits[split] = Split(kind, own, _fixed_folder(patterns[0]))
                    break
    return found


def _patterns(said: Any) -> Iterator[tuple[str, list[str]]]:
    """Splits and patterns of ``data_files``: a text, a list of texts, or a split and path for each."""
    if isinstance(said, str):
        yield TRAIN, [said]
    elif isinstance(said, list) and all(isinstance(one, str) for one in said):
        yield TRAIN, said
    elif isinstance(said, list):
        for one in said:
            if isinstance(one, dict) and "path" in one:
                path = one["path"]
                yield str(one.get("split", TRAIN)), [path] if isinstance(path, str) else [str(part) for part in path]


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern of files: ``**`` is any number of folders, ``*`` and ``?`` stay within one."""
    parts = re.split(r"(\*\*/?|\*|\?)", pattern.removeprefix("./"))
    meant = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meant.get(part, re.escape(part)) for part in parts), re.DOTALL)


def _fixed_folder(pattern: str) -> str:
    """The folders of a pattern that stand before its first wildcard."""
    return re.split(r"[*?]", pattern.removeprefix("./"))[0].rpartition("/")[0]


def _by_name(names: Sequence[str]) -> Layout:
    """What the names of the files say; of the first kind of files that there is."""
    by_kind = {kind: sorted(name for name in names if name.lower().endswith(KINDS[kind])) for kind in KINDS}
    kind = next((kind for kind, own in by_kind.items() if own), IMAGES)
    found: Layout = {}
    for name in by_kind[kind]:
        folders, split = _split_of(name, kind)
        top = folders.partition("/")[0]
        config = DEFAULT if kind == IMAGES or top in NO_CONFIG else top
        below = f"{folders}/{split[1]}".strip("/") if split[1] else folders
        one = found.setdefault(config, {}).setdefault(split[0], Split(kind, [], below if kind == IMAGES else ""))
        one.names.append(name)
    return found


def _split_of(name: str, kind: str) -> tuple[str, tuple[str, str]]:
    """The folders before what names the split, the split, and the folder that names it."""
    *folders, file = name.split("/")
    for i, folder in enumerate(folders):
        if folder.lower() in SAME:
            return "/".join(folders[:i]), (SAME[folder.lower()], folder)
    if kind == IMAGES:
        return "", (TRAIN, "")
    before = "/".join(folders)
    if match := _PARTS.fullmatch(file):
        return before, (SAME.get(match[1].lower(), match[1]), "")
    word = next((SAME[one.lower()] for one in _WORD.findall(file) if one.lower() in SAME), TRAIN)
    return before, (word, "")
