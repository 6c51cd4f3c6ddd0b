"""Readable names for WordNet ids (n01440764: tench), where a data set's folder comes with them."""

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pure_cli.data.plain_pickle import load_plain

ABOVE = 4  # folders that are looked at: Kaggle has its names beside ILSVRC/Data/CLS-LOC/train

_WNID = re.compile(r"n[0-9]{8}")


def readable_names(root: Path, codes: tuple[str, ...]) -> tuple[str, ...]:
    """The first name of each class, from a file in the folder of the classes or one above.

    Parameters
    ----------
    root : folder of the class folders
    codes : their names

    Returns
    -------
    as many names as codes, the code itself where a file does not know it or two would be the same; empty where the
    codes are no WordNet ids or there is no file
    """
    if not codes or not all(_WNID.fullmatch(code) for code in codes):
        return ()
    for folder in [root, *root.parents][:ABOVE]:
        for name, read in _READERS.items():
            try:
                known = read(folder / name)
            except Exception:  # no such file, or another one of that name
                continue
            if any(code in known for code in codes):
                first = [known.get(code, code).split(",")[0].strip() for code in codes]
                return tuple(
                    name if first.count(name) == 1 else f"{name} ({code})"
                    for name, code in zip(first, codes, strict=True)
                )
    return ()


def _lines(file: Path) -> Mapping[str, str]:
    """``n01440764 tench, Tinca tinca``: LOC_synset_mapping.txt of Kaggle, words.txt of ImageNet."""
    rows = (line.split(None, 1) for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _json(file: Path) -> Mapping[str, str]:
    """``{"0": ["n01440764", "tench"]}``, of Keras."""
    content = json.loads(file.read_text(encoding="utf-8"))
    return {code: name.replace("_", " ") for code, name in content.values()}


def _meta(file: Path) -> Mapping[str, str]:
    """torchvision's ``meta.bin``: a pair, of which the first is ``{"n01440764": ("tench", "Tinca tinca")}``."""
    with zipfile.ZipFile(file) as archive:
        inside = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(inside) as pickled:
            known, _ = load_plain(pickled)  # type: ignore[arg-type]
    return {code: names[0] for code, names in known.items()}


_READERS: dict[str, Callable[[Path], Mapping[str, str]]] = {
    "LOC_synset_mapping.txt": _lines,
    "classes.txt": _lines,
    "words.txt": _lines,
    "imagenet_class_index.json": _json,
    "meta.bin": _meta,
}
