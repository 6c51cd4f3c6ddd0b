"""Concepts that a layer's units can be called by: what they are, and which classes of the data they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pure_cli.concepts import Concepts, read_concepts, united
from pure_cli.concepts.lists import BUILT_IN
from pure_cli.data.listing import UNKNOWN_LABEL, Listing
from pure_cli.errors import PureError
from pure_cli.settings.label import CLASSES

CODE = re.compile(r" \(n[0-9]{8}\)$")  # behind names that two classes have
SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True, eq=False)
class Words:
    """Concepts to choose from.

    Attributes
    ----------
    label : (C,) int64, the class of the data that each names; -1 for none
    notes : sentences for the user
    """

    concepts: Concepts
    label: np.ndarray
    notes: list[str]

    def __len__(self) -> int:
        return len(self.concepts)


def read_words(sources: Sequence[str], listing: Listing) -> Words:
    """The concepts of some lists together.

    Parameters
    ----------
    sources : as of ``--concepts``
    listing : the images, whose classes may be concepts and may have the names of some

    Raises
    ------
    PureError
        A list that is none, or classes that have no names.
    """
    several, notes = [], []
    for source in sources:
        if source == CLASSES:
            several.append(_classes(listing))
            continue
        found, own = read_concepts(source)
        several.append(found)
        notes += own
    concepts = united(several)
    if not len(concepts):
        raise PureError("No concepts are named. Give --concepts imagenet, words, classes, or a file.")
    return Words(concepts, _labels(concepts, listing), notes)


def key_of(sources: Sequence[str], listing: Listing) -> list[object]:
    """What decides the concepts; what comes with the package goes by its name, so that nothing has to be imported."""
    found: list[object] = []
    for source in sources:
        if source in BUILT_IN:
            found.append(source)
        else:
            concepts = _classes(listing) if source == CLASSES else read_concepts(source)[0]
            found.append([concepts.names, concepts.texts])
    return found


def _classes(listing: Listing) -> Concepts:
    if not listing.names:
        raise PureError("The data has no names of classes. Name a list with --concepts imagenet, words, or a file.")
    named = [CODE.sub("", name).replace("_", " ") for name in listing.names]
    return united(Concepts((name,), ((name,),)) for name in named)


def _labels(concepts: Concepts, listing: Listing) -> np.ndarray:
    """(C,) the class that has the name, or one of the texts, of each concept, and no other class has; -1 for none."""
    found: dict[str, int] = {}
    codes = listing.codes or listing.names  # which may be WordNet ids
    for label, (name, code) in enumerate(zip(listing.names, codes, strict=True)):
        for one in {_plain(word) for word in (CODE.sub("", name), *_lemmas(code))} - {""}:
            found[one] = UNKNOWN_LABEL if one in found else label
    words = zip(concepts.names, concepts.texts, strict=True)
    own = [{found.get(_plain(word), UNKNOWN_LABEL) for word in (name, *texts)} for name, texts in words]
    return np.array([max(labels) if len(labels - {UNKNOWN_LABEL}) == 1 else UNKNOWN_LABEL for labels in own], np.int64)


def _lemmas(code: str) -> list[str]:
    """The words of a WordNet id; none of what is no such id."""
    if not re.fullmatch(r"n[0-9]{8}", code):
        return []
    from timm.data import ImageNetInfo

    known = ImageNetInfo("imagenet-22k")
    try:
        return known.label_name_to_description(code).split(",")
    except (KeyError, AssertionError):
        return []


def _plain(text: str) -> str:
    return SEPARATORS.sub(" ", text).strip().casefold()
