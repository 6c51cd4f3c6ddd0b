"""Words for the reader. Light: nothing of the package is imported."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

NOT_IN_NAMES = re.compile(r"[^\w.=-]+")


def printable(text: str) -> str:
    """Text on one line, without what would steer a terminal: control characters and broken names are spelled out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def computed_in(precisions: Mapping[str, str]) -> str:
    """What was computed in what: "references in tf32, relevances in bfloat16"; "" of nothing."""
    return ", ".join(f"{what} in {precision}" for what, precision in precisions.items())


def counted(count: int, noun: str) -> str:
    """A number with what it counts: "1 neuron", "1,600 neurons"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Words as in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def in_file_names(text: str) -> str:
    """A text as a part of the name of a file."""
    return NOT_IN_NAMES.sub("-", text).strip("-")


def as_given(value: object) -> str:
    """A value of an option as its user wrote it: text in quotes, several values with commas, numbers plain."""
    if not isinstance(value, list | tuple | str | PurePath):
        return repr(value)
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if all(map(is_number, text.split(","))) else repr(text)


def is_number(text: str) -> bool:
    """A number as Python writes it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
