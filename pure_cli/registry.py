"""What can be added by a file: transforms, rules, metrics, embedders, sources of images, stages, commands, by name.

A folder for each kind. A file in it that declares one (a line ``METRIC = …``) is one, and the file's name is its name
(``epsilon_plus.py`` is ``epsilon-plus``); the first line of its docstring says what it is, in ``--help`` too. Those of
other packages come from their entry points. Names are found without importing anything: a file is imported when what
it declares is used. Light: nothing is imported here that takes time.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from pure_cli.errors import PureError, first_line, unknown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pure_cli.commands.command import Command
    from pure_cli.core.transform import Transform
    from pure_cli.data.source import Source
    from pure_cli.embedders.kind import EmbedderKind
    from pure_cli.models.rule import Rule
    from pure_cli.settings.stage import Stage
    from pure_cli.stages.evaluation.metric import Metric

T = TypeVar("T")
GROUPS = "pure."  # before the names of the groups of entry points
OURS = "pure-cli"  # the name of this package, where two are at odds
_SUMMARY = re.compile(r'\s*"""(.*?)(?:\n|""")')


class _Place(NamedTuple):
    """Where something is declared: in a file of this package, or at another package's entry point."""

    package: str
    file: Path | None
    point: EntryPoint | None


class Registry(Mapping[str, T], Generic[T]):
    """The things of one kind, by name.

    Parameters
    ----------
    kind : for messages, in the words of the user
    folder : below this package, with "/"
    group : of entry points, without its beginning
    variable : the name that a file gives to what it declares
    declared : class of that, as ``module:Class``
    """

    def __init__(self, kind: str, folder: str, group: str, variable: str, declared: str):
        self.kind, self.folder, self.group, self.variable = kind, folder, GROUPS + group, variable
        self._declared = declared
        self._loaded: dict[str, T] = {}
        self._places: dict[str, list[_Place]] | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def __contains__(self, name: object) -> bool:
        return name in self._found()

    def __getitem__(self, name: str) -> T:
        """What has a name; its file is imported now.

        Raises
        ------
        PureError
            Nothing has it, two packages claim it, or it cannot be imported.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def working(self) -> Iterator[str]:
        """The names of those that can be loaded; what is wrong with another is said where it is asked for."""
        for name in self:
            with suppress(PureError):
                self[name]
                yield name

    def summary(self, name: str) -> str:
        """What something is, in a few words: the first line of its file's docstring, nothing being imported."""
        place = self._found()[name][0]
        file = place.file or _file_of(place.point.value.partition(":")[0])  # type: ignore[union-attr]
        try:
            found = _SUMMARY.match(file.read_text(encoding="utf-8")) if file else None
        except (OSError, UnicodeDecodeError):
            found = None
        text = found[1].strip().rstrip(".") if found else ""
        text = text[:1].lower() + text[1:] if text[1:2].islower() else text
        return text if place.file or not text else f"{text}; of {place.package}"

    def listed(self) -> str:
        """All names with what they are, for a help text: "epsilon (LRP-ε at every linear layer), gamma (…)"."""
        return ", ".join(f"{name} ({summary})" if (summary := self.summary(name)) else name for name in self)

    def _found(self) -> dict[str, list[_Place]]:
        if self._places is None:
            found: dict[str, list[_Place]] = {}
            for file in sorted(Path(__file__).parent.joinpath(self.folder).glob("*.py"), key=lambda file: file.stem):
                if re.search(rf"^{self.variable}\b[^=\n]*=", file.read_text(encoding="utf-8"), re.MULTILINE):
                    found.setdefault(file.stem.replace("_", "-"), []).append(_Place(OURS, file, None))
            for point in _entry_points(self.group):
                package = point.dist.name if point.dist else point.value
                places = found.setdefault(point.name, [])
                if all(place.package != package for place in places):  # seen twice on the way is one
                    places.append(_Place(package, None, point))
            self._places = found
        return self._places

    def _load(self, name: str) -> T:
        places = self._found().get(name)
        if places is None:
            raise unknown(self.kind, name, self)
        if len(places) > 1:
            packages = " and ".join(sorted(place.package for place in places))
            raise PureError(f"The {self.kind} '{name}' is in {packages}. Uninstall one of them.")
        (place,) = places
        if place.point is None:
            module = f"pure_cli.{self.folder.replace('/', '.')}.{name.replace('-', '_')}"
            try:
                return getattr(import_module(module), self.variable)
            except PureError:
                raise
            except Exception as error:
                raise PureError(
                    f"The {self.kind} '{name}' ({place.file}) cannot be loaded ({first_line(error)}). Mend that file."
                ) from error
        try:
            found = place.point.load()
            found = getattr(found, self.variable) if isinstance(found, type(sys)) else found
            found = found() if isinstance(found, type) else found
            module, _, declared = self._declared.partition(":")
            if not isinstance(found, getattr(import_module(module), declared)):
                raise TypeError(f"it is a {type(found).__name__} and no {declared}")
        except Exception as error:
            raise PureError(
                f"The {self.kind} '{name}' ({place.point.value}) cannot be loaded ({first_line(error)}). "
                f"Mend or uninstall the package that it comes with, {place.package}."
            ) from error
        return found


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of all packages in a group, by name.

    Python's own search takes as long to import as all else of ``pure --help``, and hardly anyone has such a package: so
    first a look at whether there is one.
    """
    if not any(GROUPS in text for text in _texts()):
        return ()
    from importlib.metadata import entry_points

    return tuple(sorted(entry_points(group=group), key=lambda point: (point.name, point.value)))


@cache
def _texts() -> tuple[str, ...]:
    """What the packages on Python's path say of their entry points."""
    found = []
    for folder in dict.fromkeys(sys.path):
        try:
            names = [entry.path for entry in os.scandir(folder or ".") if entry.name.endswith(("-info", ".egg"))]
        except OSError:
            continue
        for name in names:
            for file in (Path(name, "entry_points.txt"), Path(name, "EGG-INFO", "entry_points.txt")):
                try:
                    found.append(file.read_text(encoding="utf-8"))
                except (OSError, UnicodeDecodeError):
                    continue
    return tuple(found)


def _file_of(module: str) -> Path | None:
    """The file of a module, which is not imported, nor are the packages that it is in."""
    from importlib.machinery import PathFinder

    path, spec = None, None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec and spec.origin else None


TRANSFORMS: Registry[Transform] = Registry(
    "transform", "core/transforms", "transforms", "TRANSFORM", "pure_cli.core.transform:Transform"
)
RULES: Registry[Rule] = Registry("rule", "models/relevance", "rules", "RULE", "pure_cli.models.rule:Rule")
EMBEDDERS: Registry[EmbedderKind] = Registry(
    "embedder", "embedders/kinds", "embedders", "EMBEDDER", "pure_cli.embedders.kind:EmbedderKind"
)
METRICS: Registry[Metric] = Registry(
    "metric", "stages/evaluation", "metrics", "METRIC", "pure_cli.stages.evaluation.metric:Metric"
)
SOURCES: Registry[Source] = Registry("source", "data/sources", "sources", "SOURCE", "pure_cli.data.source:Source")
STAGES: Registry[Stage] = Registry("stage", "settings", "stages", "STAGE", "pure_cli.settings.stage:Stage")
COMMANDS: Registry[Command] = Registry(
    "command", "commands", "commands", "COMMAND", "pure_cli.commands.command:Command"
)
