"""The sources that there are, in the order in which they are asked."""

from functools import cache
from importlib.metadata import entry_points

from pure_cli.data.place import Place
from pure_cli.data.source import Source
from pure_cli.data.sources.arrays import NumpyArchive
from pure_cli.data.sources.folder import Folder
from pure_cli.data.sources.huggingface import ParquetFiles, SavedDataset
from pure_cli.data.sources.lists import ListOfFiles
from pure_cli.data.sources.subset import Subset
from pure_cli.data.sources.torchvision_layouts import Cifar, Mnist
from pure_cli.data.sources.webdataset import WebDataset
from pure_cli.errors import PureError, first_line

ENTRY_POINTS = "pure.sources"

BUILT_IN: tuple[Source, ...] = (
    *(Subset(), WebDataset(), SavedDataset(), ParquetFiles(), NumpyArchive(), Cifar(), Mnist()),
    *(ListOfFiles(), Folder()),  # last: they claim every file and every folder
)

_registered: list[Source] = []


def register_source(source: Source) -> None:
    """Add a source, for this process; it is asked before those that come with the package, the newest first."""
    _registered.insert(0, source)


def sources() -> tuple[Source, ...]:
    """All sources: those registered, those of installed packages, those built in."""
    return (*_registered, *_installed(), *BUILT_IN)


def source_of(place: Place) -> Source:
    """The first source that claims a place.

    Raises
    ------
    PureError
        None does.
    """
    for source in sources():
        if source.claims(place):
            return source
    kinds = ", ".join(sorted(place.endings))
    raise PureError(f"'{place.text}' names files ({kinds}); a pattern is for tar shards or for Parquet files.")


@cache
def _installed() -> tuple[Source, ...]:
    """The sources of other packages, by the names of their entry points.

    Raises
    ------
    PureError
        One cannot be loaded.
    """
    found = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            made = point.load()
            found.append(made() if isinstance(made, type) else made)
        except Exception as error:
            raise PureError(
                f"The source '{point.name}' ({point.value}) cannot be loaded ({first_line(error)}). "
                "Mend or uninstall the package that it comes with."
            ) from error
    return tuple(found)
