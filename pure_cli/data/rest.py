"""What a source leaves out, counted by the endings of the names, so that the user can be told."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

from pure_cli.words import counted, printable

NO_IMAGES = frozenset((
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".toml", ".html"),
    *(".htm", ".css", ".js", ".py", ".pyc", ".sh", ".bat", ".ipynb", ".m", ".mat", ".log", ".ini", ".cfg", ".lst"),
    *(".pdf", ".doc", ".docx", ".xls", ".xlsx", ".url", ".lnk", ".db", ".sqlite", ".lock", ".md5", ".sha1", ".sha256"),
    *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".torrent", ".names", ".data", ".bib"),
    *(".npz", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".safetensors", ".h5", ".hdf5", ".parquet", ".arrow"),
    *(".mov", ".mp4", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wav", ".mp3", ".aae", ".xmp", ".cls"),
))  # fmt: skip
"""Endings of what lies beside images and is none itself."""

_NO_ENDING = re.compile(
    r"readme|licen[cs]e|copying|notice|authors|changelog|citation|makefile|dockerfile", re.IGNORECASE
)
_LIKE_AN_ENDING = re.compile(r"\.(?=.*[a-z])[a-z0-9_~-]{1,12}")  # else it is the rest of a name with dots: ".0017"
_NONE, _OTHER = "without an ending", "of other endings"
_KINDS = 1000  # endings that are told apart
_NAMED = 4  # endings and folders that a sentence names
_ALL = 50  # endings of what was left out that are named
_NO_CLASSES = ("__MACOSX",)
_EMPTY, _BESIDE, _LEFT_OUT = range(3)  # what there is in a folder without an image


_ARRAYS = "Save arrays with np.savez('images.npz', images=…, labels=…)"
_CONVERSIONS = {
    ".bin": f"CIFAR is read in its form for Python (cifar-10-batches-py), and not in the binary one. {_ARRAYS}",
    **dict.fromkeys((".h5", ".hdf5", ".mat", ".npy", ".pt", ".pkl", ".pickle"), _ARRAYS),
    ".tfrecord": "Records of TensorFlow are not read: save the images as files in class folders",
}


def conversion(endings: Iterable[str]) -> str:
    """What to make of data of another form, as a sentence with a space in front; "" where that is not known."""
    return next((f" {_CONVERSIONS[ending]}." for ending in endings if ending in _CONVERSIONS), "")


class Rest:
    """Files that are no images as far as their names tell, and the class folders without an image.

    Attributes
    ----------
    left_out : of those that could be meant as images, how many there are of each ending
    """

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self._every: Counter[str] = Counter()
        self._folders: dict[str, int] = {}

    def open(self, folder: str) -> None:
        """Look into a class folder."""
        self._folders[folder] = _EMPTY

    def add(self, name: str, folder: str = "") -> None:
        """Leave out a file, which lies at any depth in a class folder."""
        kind = _kind(name)
        kind = kind if kind in self._every or len(self._every) < _KINDS else _OTHER
        self._every[kind] += 1
        meant = bool(meant_as_image(name))
        if meant:
            self.left_out[kind] += 1
        if folder in self._folders:
            self._folders[folder] = max(self._folders[folder], _LEFT_OUT if meant else _BESIDE)

    def merge(self, left_out: Mapping[str, int]) -> None:
        """Leave out what another one left out."""
        self.left_out.update(left_out)

    def holds(self) -> str:
        """What there is, in words."""
        return f"it holds {_kinds(self._every)}" if self._every else "it is empty"

    def conversion(self) -> str:
        """What to make of what there is, if it is data of another form."""
        return conversion(kind for kind, _ in self._every.most_common())

    def notes(self, classes: Container[str] = ()) -> list[str]:
        """Sentences on what was left out, and on class folders that are not among the classes."""
        count = self.left_out.total()
        found = [f"{counted(count, 'file')} {_was(count)} left out: {_kinds(self.left_out, _ALL)}."] if count else []
        without = [
            name
            for name, state in self._folders.items()
            if name not in classes and name not in _NO_CLASSES and state != _BESIDE
        ]
        if without:
            named = ", ".join(f"'{printable(name)}'" for name in sorted(without)[:_NAMED])
            more = f" and {len(without) - _NAMED:,} more" if len(without) > _NAMED else ""
            several = len(without) > 1
            found.append(f"The folder{'s' if several else ''} {named}{more} hold{'' if several else 's'} no image.")
        return found


def meant_as_image(name: str) -> str:
    """The kind of a file that could be meant as an image, "" for what usually lies beside images."""
    kind = _kind(name)
    return "" if kind in NO_IMAGES or (kind == _NONE and _NO_ENDING.match(name)) else kind


def _kind(name: str) -> str:
    base, dot, last = name.lower().rpartition(".")
    kind = dot + last if base else _NONE
    return kind if kind == _NONE or _LIKE_AN_ENDING.fullmatch(kind) else _OTHER


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _kinds(counts: Counter[str], most: int = _NAMED) -> str:
    """``5 .jxl, 3 .psd and 2 more kinds of file``"""
    named = ", ".join(f"{n:,} {kind}" for kind, n in counts.most_common(most))
    more = len(counts) - most
    return f"{named} and {more} more kind{'s' if more > 1 else ''} of file" if more > 0 else named


def chosen_labels(what: str, chosen: str, others: Sequence[str]) -> list[str]:
    """A sentence on which column the labels are taken from, where others could be meant."""
    if not others:
        return []
    named = ", ".join(f"'{printable(name)}'" for name in others[:_NAMED])
    return [f"The labels are those of the {what} '{printable(chosen)}', and not of {named}."]
