"""Which clustering the addresses of a layer's virtual neurons mean: the file ``choice.json``."""

from __future__ import annotations

from dataclasses import dataclass

from pure_cli.artifacts.by_layer import read_by_layer, write_by_layer
from pure_cli.workspace import Store

FILE = "choice.json"


@dataclass(frozen=True)
class Choice:
    """A clustering of a layer.

    Attributes
    ----------
    features : kind of features, with its lower layers in its name
    k : number of virtual neurons of each neuron, or auto
    """

    features: str
    k: int | str

    def __post_init__(self) -> None:
        if not isinstance(self.features, str) or not isinstance(self.k, int | str):
            raise TypeError("not the types of a choice")

    def __str__(self) -> str:
        return f"{self.features} features with k = {self.k}"


def read_choices(store: Store) -> dict[str, Choice]:
    """By layer; none where there is no file.

    Raises
    ------
    UnreadableFile
        It is no such file.
    """
    return read_by_layer(store.root / FILE, Choice, "`pure choose --force`")


def write_choices(store: Store, choices: dict[str, Choice]) -> None:
    write_by_layer(store.root / FILE, choices)
