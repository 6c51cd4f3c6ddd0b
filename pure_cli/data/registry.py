"""The sources that there are, in the order in which they are asked."""

from collections.abc import Iterator

from pure_cli.data.place import Place
from pure_cli.data.source import Source
from pure_cli.errors import PureError
from pure_cli.registry import SOURCES

FIRST = 0  # order of a source that says none

_registered: list[Source] = []


def register_source(source: Source) -> None:
    """Add a source, for this process; it is asked before those that come with the package, the newest first."""
    _registered.insert(0, source)


def sources() -> tuple[Source, ...]:
    """All sources: those registered, those of installed packages, those built in (`pure_cli.data.sources`).

    Raises
    ------
    PureError
        One of an installed package cannot be loaded: it might be the one to ask.
    """
    return (*_registered, *sorted(_declared(), key=lambda source: getattr(source, "order", FIRST)))


def source_of(place: Place) -> Source:
    """The first source that claims a place.

    Raises
    ------
    PureError
        None does.
    """
    elsewhere = "://" in place.url
    for source in sources():
        if (not elsewhere or getattr(source, "by_url", False)) and source.claims(place):
            return source
    if elsewhere:
        raise PureError(
            f"'{place.text}' is no data that is read by its URL: tar shards (.tar), Parquet files, folders of images "
            "and lists of images (.txt, .csv) are. Fetch it, and pass the copy with --data."
        )
    kinds = ", ".join(sorted(place.endings))
    raise PureError(f"'{place.text}' names files ({kinds}); a pattern is for tar shards or for Parquet files.")


def _declared() -> Iterator[Source]:
    """All but those registered; a file may declare several."""
    for name in SOURCES:
        found = SOURCES[name]
        yield from found if isinstance(found, tuple) else (found,)
