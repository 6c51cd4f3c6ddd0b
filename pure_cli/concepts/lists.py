"""Concepts by name: ImageNet's classes, a general list of nouns, or a file of the user's."""

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from pure_cli.errors import PureError, first_line, unknown
from pure_cli.words import counted, printable

NAME_COLUMNS = ("name", "names", "concept", "concepts", "label", "class", "word")  # first cell of a header
ENDINGS = (".txt", ".csv", ".tsv", ".json")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_JSON_FORMS = 'Write ["dog", "cat"], {"dog": ["dog", "puppy"]} or [{"name": "dog", "texts": ["dog", "puppy"]}].'

_Row = tuple[str, tuple[str, ...]]  # name, own texts


@dataclass(frozen=True)
class Concepts:
    """Concepts in words.

    Attributes
    ----------
    names : (C,) of the concepts, each another one
    texts : (C,) what says each concept, one text or several that mean the same; its name where nothing else was given
    """

    names: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.names)


def read_concepts(source: str | Path) -> tuple[Concepts, list[str]]:
    """The concepts that a name or a file stands for.

    Parameters
    ----------
    source : ``imagenet``, ``words``, or a file: ``.txt`` (a concept to a line), ``.csv`` and ``.tsv`` (a name, and in
        further columns texts that say it), ``.json`` (a list of names; an object from names to texts; a list of objects
        with ``name`` and ``texts``)

    Returns
    -------
    concepts : in the order of the source; a name that comes again is the same concept, with the texts of both
    notes : sentences for the user

    Raises
    ------
    PureError
        No such list, or a file that cannot be read as one.
    """
    if str(source) in BUILT_IN:
        return _united(BUILT_IN[str(source)]())[0], []
    file = Path(source).expanduser()
    if not file.exists() and file.suffix.lower() not in ENDINGS:
        raise unknown("list of concepts", str(source), BUILT_IN, f"Or give a file ({', '.join(ENDINGS)}).")
    rows = list(_rows(file))
    concepts, again = _united(rows)
    if not concepts:
        raise PureError(f"{file} names no concepts. Write one to a line.")
    notes = []
    if again:
        notes.append(f"{file.name} names {counted(again, 'concept')} again; each counts once, with all its texts.")
    return concepts, notes


def united(several: Iterable[Concepts]) -> Concepts:
    """The concepts of several lists, each once."""
    return _united(row for one in several for row in zip(one.names, one.texts, strict=True))[0]


def _united(rows: Iterable[_Row]) -> tuple[Concepts, int]:
    """Each name once, large and small letters being the same, and how many rows had one that was there."""
    names: dict[str, str] = {}
    texts: dict[str, dict[str, None]] = {}
    again = 0
    for name, own in rows:
        key = name.casefold()
        again += key in names
        names.setdefault(key, name)
        texts.setdefault(key, {}).update(dict.fromkeys(own or (names[key],)))
    return Concepts(tuple(names.values()), tuple(tuple(own) for own in texts.values())), again


def _imagenet() -> Iterator[_Row]:
    """The 1,000 classes in their order, by the names that CLIP is asked for; by WordNet's where two have the same."""
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    lemmas = ImageNetInfo("imagenet-1k").label_descriptions()
    for name, lemma in zip(IMAGENET_CLASSNAMES, lemmas, strict=True):
        yield (_first(lemma) if IMAGENET_CLASSNAMES.count(name) > 1 else name), ()


def _words() -> Iterator[_Row]:
    """The first lemma of each of the 21,841 synsets of ImageNet-22k: nouns of things that can be seen, and kinds of
    such things."""
    from timm.data import ImageNetInfo

    for lemma in ImageNetInfo("imagenet-22k").label_descriptions():
        yield _first(lemma), ()


def _first(lemmas: str) -> str:
    return lemmas.partition(",")[0].strip()


BUILT_IN: dict[str, Callable[[], Iterator[_Row]]] = {"imagenet": _imagenet, "words": _words}


def _rows(file: Path) -> Iterator[_Row]:
    """Name and own texts, without space around them, of each concept of a file."""
    text = _text(file)
    match file.suffix.lower():
        case ".json":
            rows = _json_rows(file, text)
        case ".csv" | ".tsv":
            rows = _table_rows(file, text, "\t" if file.suffix.lower() == ".tsv" else ",")
        case _:
            rows = ((line, ()) for line in text.splitlines())
    for name, own in rows:
        if plain := _plain(name):
            yield plain, tuple(filter(None, map(_plain, own)))


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PureError(f"The list of concepts {file} cannot be read: {error.strerror}.") from None
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PureError(
            f"{file} is not in UTF-8 (line {line:,} has the byte {content[error.start]:#04x}). Save it as UTF-8."
        ) from None
    if "\0" in text:
        raise PureError(f"{file} is no text. Give a list of concepts: {', '.join(ENDINGS)}.")
    return text


def _table_rows(file: Path, text: str, delimiter: str) -> Iterator[tuple[str, Sequence[str]]]:
    try:
        rows = [row for row in csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True) if any(row)]
    except csv.Error as error:
        raise PureError(f"{file} cannot be read as a table: {first_line(error)}.") from None
    if rows and rows[0][0].strip().lower() in NAME_COLUMNS:
        rows = rows[1:]
    for name, *own in rows:
        yield name, own


def _json_rows(file: Path, text: str) -> Iterator[tuple[str, Sequence[str]]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise PureError(f"{file} is no JSON: {first_line(error)}.") from None
    if isinstance(content, dict):
        content = [{"name": name, "texts": own} for name, own in content.items()]
    if not isinstance(content, list):
        raise PureError(f"{file} holds no list of concepts. {_JSON_FORMS}")
    for entry in content:
        yield _entry(file, entry)


def _entry(file: Path, entry: Any) -> tuple[str, Sequence[str]]:
    if isinstance(entry, str):
        return entry, ()
    name, own = (entry.get("name"), entry.get("texts", ())) if isinstance(entry, dict) else (None, ())
    own = [own] if isinstance(own, str) else own
    if not isinstance(name, str) or not isinstance(own, (list, tuple)) or not all(isinstance(one, str) for one in own):
        raise PureError(f"{file} has a concept that is none: {json.dumps(entry)[:80]}. {_JSON_FORMS}")
    return name, own


def _plain(text: str) -> str:
    """On one line, with single spaces, and without what would steer a terminal."""
    return printable(" ".join(text.split()))
