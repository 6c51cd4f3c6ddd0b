"""Folders that look like no classes: images beside their masks and annotations, splits, one folder for everything."""

import re
from collections.abc import Collection
from pathlib import Path

from pure_cli.words import printable

FOLDERS_OF_TWINS = 8  # beside each other, in which the names of images are compared
_NO_CLASS = re.compile(
    r"annotations?|masks|labels|segmentation[ _-]?(class|object|masks?|maps?)(raw|aug)?|ground[ _-]?truths?|"
    r"jpegimages|images?|imgs?|(images?[ _-]?)?(train|training|val|valid|validation|dev|test|testing)(20[0-9]{2})?",
    re.IGNORECASE,
)
_BESIDE_IMAGES = re.compile(r"annot|mask|label|segm|ground", re.IGNORECASE)
_NAMED = 4  # folders that a sentence names


class Twins:
    """Of each folder, what its images are called without their endings, as a sum of hashes, and the endings."""

    def __init__(self) -> None:
        self._stems: dict[str, list[int]] = {}
        self._endings: dict[str, set[str]] = {}

    def add(self, folder: str, path: str) -> None:
        stem, _, ending = path[len(folder) :].rpartition(".")
        self._stems.setdefault(folder, [0, 0])
        self._stems[folder][0] += 1
        self._stems[folder][1] += hash(stem)
        self._endings.setdefault(folder, set()).add(ending.lower())

    def found(self) -> set[str]:
        """Folders that hold images of the same names as another one does, with other endings."""
        return {
            one
            for one, stems in self._stems.items()
            for other in self._stems.keys() - {one}
            if stems == self._stems[other] and not self._endings[one] & self._endings[other]
        }


def no_classes(root: Path, names: Collection[str], twins: Twins) -> list[str]:
    """A sentence on class folders that look like no classes."""
    if len(names) == 1:
        (name,) = names
        return [f"All images in folders are in '{printable(name)}', so that there is one class."]
    odd = sorted({name for name in names if _NO_CLASS.fullmatch(name)} | twins.found())
    if not odd:
        return []
    named = ", ".join(f"'{printable(name)}'" for name in odd[:_NAMED])
    more = f" and {len(odd) - _NAMED:,} more" if len(odd) > _NAMED else ""
    look = "look like no classes" if len(odd) > 1 else "looks like no class"
    shown = next((name for name in odd if not _BESIDE_IMAGES.match(name)), odd[0])
    return [
        f"The class folder{'s' if len(odd) > 1 else ''} {named}{more} {look}. For the images of one folder alone, "
        f"pass it, as in --data '{printable(str(root / shown))}'."
    ]
