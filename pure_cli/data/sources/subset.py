"""Some items of another data set, of whatever kind, with labels of their own: what calibrate works on.

Random access is that of the other data set.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pure_cli.data.cache import Cache
from pure_cli.data.place import Place
from pure_cli.data.source import Items, Raw, expecting, reading_ahead
from pure_cli.errors import PureError

ENDING = ".subset"


class Subset:
    """A JSON file: data (as of ``--data``), index (data-set indices), label."""

    name = "a subset of another data set"
    has_splits = False
    order = 10

    def claims(self, place: Place) -> bool:
        return place.endings == {ENDING} and not place.is_folder

    def list(self, place: Place, cache: Cache) -> Items:
        from pure_cli.data.listing import list_images

        (file,) = place.files
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            data, *numbers = content["data"], content["index"], content["label"]
            index, label = (np.array(each, np.int64).reshape(-1) for each in numbers)
            if not isinstance(data, str):
                raise TypeError("data is no text")
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise PureError(f"The subset '{file}' cannot be read. Make it again.") from error
        of = list_images(data, cache=cache.folder)
        if len(index) and not 0 <= index.min() <= index.max() < len(of.paths):
            raise PureError(f"'{data}' has fewer images than when the subset '{file}' was made. Make it again.")
        paths = [of.paths[i] for i in index.tolist()]
        read, sizes, times = _Picked(of.read, index), of.sizes[index], of.times[index]
        return Items(of.root, paths, read, label, (), sizes, of.identity, times=times, versioned=of.versioned)


def subset(data: str, index: np.ndarray, labels: np.ndarray) -> str:
    """The content of such a file.

    Parameters
    ----------
    data : of the data set, `Listing.data`
    index : (M,) int, data-set indices
    labels : (M,) int, their labels
    """
    return json.dumps({"data": data, "index": index.tolist(), "label": labels.tolist()})


@dataclass(frozen=True)
class _Picked:
    read: Callable[[int], Raw]
    index: np.ndarray

    def __call__(self, i: int) -> Path | bytes | np.ndarray:
        return self.read(int(self.index[i]))

    def expect(self, index: np.ndarray) -> None:
        expecting(self.read, self.index[index])

    def ahead(self, index: Sequence[int]) -> None:
        reading_ahead(self.read, self.index[index].tolist())


SOURCE = Subset()
