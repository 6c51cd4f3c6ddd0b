"""What every command does the same way: options and config file together, progress, errors, how results are told."""

import contextlib
import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pure_cli.commands.options import habits
from pure_cli.errors import PureError, first_line, unknown
from pure_cli.interrupts import TERMINATED, Terminated, stops_when_asked
from pure_cli.registry import STAGES
from pure_cli.remote.urls import is_url
from pure_cli.words import as_given, counted, duration, printable

if TYPE_CHECKING:
    from rich.console import Console

    from pure_cli.api import Workspace
    from pure_cli.stages.outcome import Outcome
    from pure_cli.views.progress import Shown

DEFAULT_WORKSPACE = "pure-workspace"
ENVIRONMENT = {"workspace": "PURE_WORKSPACE", "data": "PURE_DATA"}
HABITS = frozenset(parameter.name for parameter in habits())
INTERRUPTED = 130  # exit code by convention: 128 + SIGINT
STOPPED = "Stopped. What was finished is kept; the same command goes on from there."


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what goes wrong in a command into one line on standard error and an exit code."""

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> None:
        def fail(message: str, code: int) -> None:
            if options.get("debug"):
                print(*map(printable, traceback.format_exc().splitlines()), sep="\n", file=sys.stderr)
            print(printable(message), file=sys.stderr)
            if options.get("as_json"):
                print_error(message, code)
            raise SystemExit(code)

        try:
            with stops_when_asked(STOPPED):
                command(*args, **options)
                sys.stdout.flush()
        except PureError as error:
            fail(f"Error: {error}", error.exit_code)
        except KeyboardInterrupt:
            fail("Interrupted. What was finished is kept; the same command goes on from there.", INTERRUPTED)
        except Terminated:
            fail(STOPPED, TERMINATED)
        except BrokenPipeError:
            sys.stderr.close()
            raise SystemExit(1) from None
        except MemoryError:
            fail("Error: the memory is not enough. Try a smaller --batch-size and fewer --workers.", 1)
        except Exception as error:
            from pure_cli.files import DISK_FULL

            if isinstance(error, OSError) and error.errno in (*DISK_FULL, errno.EIO):
                where = f"'{error.filename}'" if error.filename else "standard output, or a temporary file,"
                fail(f"Error: {where} cannot be written: {(error.strerror or '').lower()}.", 1)
            fail(
                f"Error: pure failed in a way that it should not ({type(error).__name__}: {first_line(error)}). "
                "Run it with --debug to see where.",
                1,
            )

    return guarded


@dataclass
class Session:
    """One run of a command: its workspace, its options, and how it talks to the user.

    Parameters
    ----------
    given : the command's parameters by name
    kinds : types of those that are the command's own
    """

    given: Mapping[str, Any]
    kinds: Mapping[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        from pure_cli.config import read_config

        self.content = read_config(self.given["config"]) if self.given.get("config") else {}
        self.json, self.quiet, self.verbose = (bool(self.given.get(name)) for name in ("as_json", "quiet", "verbose"))

    @functools.cached_property
    def console(self) -> "Console":
        """For everything but results: standard error."""
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    @functools.cached_property
    def output(self) -> "Console":
        """For results: standard output, or standard error where that is kept for JSON."""
        from rich.console import Console

        return self.console if self.json else Console(highlight=False)

    @functools.cached_property
    def workspace(self) -> "Workspace":
        from pure_cli.api import Workspace

        path = (
            self.given.get("workspace")
            or self.content.get("workspace")
            or os.environ.get(ENVIRONMENT["workspace"])
            or DEFAULT_WORKSPACE
        )
        place = path if is_url(str(path)) else Path(path).expanduser()
        return Workspace(place, waiting=lambda sentence: self.note(sentence))

    def options(self, stage: str) -> dict[str, Any]:
        """The options of a stage: the command line first, then the config file, then the environment.

        Where no model is named, that of the workspace is meant, and its images rather than those of the environment.
        """
        from pure_cli.config import known_options, stage_options

        found = stage_options(self.content, stage) | self._named(known_options(stage))
        if "model" in found and "data" not in found and os.environ.get(ENVIRONMENT["data"]):
            found["data"] = os.environ[ENVIRONMENT["data"]]
        return found

    def own_options(self, command: str) -> dict[str, Any]:
        """The options of a command that is no stage: the command line first, then its section of the config file.

        Raises
        ------
        PureError
            The section has a key that is no option, or a value of another type.
        """
        known = [name for name in self.given if name not in HABITS]
        section = self.content.get(command) or {}
        for key in section:
            if key not in known:
                raise unknown(f"key in the section '{command}' of {self.given['config']}", str(key), known)
        found = {key: self._of_kind(key, value) for key, value in section.items()}
        return {**dict.fromkeys(known), **found, **self._named(known)}

    def _of_kind(self, key: str, value: Any) -> Any:
        """A value of a config file, which is text as it stands there, as the type of an option."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(self.kinds.get(key, Any)).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise PureError(
                f"'{key}' in {self.given['config']}: {message[0].lower()}{message[1:]}, not {as_given(value)}."
            ) from None

    def _named(self, known: Iterable[str]) -> dict[str, Any]:
        """Those of some options that were given on the command line: a flag that is off was turned off."""
        names = [name for name in known if name not in HABITS and self.given.get(name) not in (None, [])]
        return {name: self.given[name] for name in names}

    def note(self, sentence: str) -> None:
        """A sentence that the user should read, also when quiet."""
        self.console.print(f"[yellow]Note:[/] {escaped(sentence)}", soft_wrap=True)

    def say(self, sentence: str) -> None:
        """A sentence of the result; nothing when quiet."""
        if not self.quiet:
            self.output.print(sentence, soft_wrap=True)

    def show(self, table: Mapping[str, Any], styles: Sequence[str] = ()) -> None:
        """A table of `pure_cli.views.tables`, with all columns when verbose; nothing when quiet, or with JSON."""
        if self.json or self.quiet:
            return
        from pure_cli.views.tables import as_rich

        self.output.print(as_rich(table, not self.verbose, styles))

    def show_tables(self, tables: Sequence[Mapping[str, Any]]) -> None:
        """Tables of measurements: those with a verdict, all when verbose."""
        first = [table for table in tables if table.get("verdict")]
        for table in tables if self.verbose else first or tables[:1]:
            self.show(table)

    def show_virtual_neurons(self, clusterings: Sequence[Mapping[str, Any]]) -> None:
        """Tables of `pure_cli.stages.cluster.tables`."""
        from pure_cli.views.virtual_neurons import as_table

        for clustering in clusterings:
            self.show(as_table(clustering))

    def say_folders(self, tables: Sequence[Any], folders: Sequence[str]) -> None:
        """Where tables of measurements are, and how to see them all."""
        for folder in folders:
            self.say(f"  tables and figures in {escaped(folder)}")
        if not self.verbose and not self.json:
            self.say(f"  -v shows {'all ' if len(tables) > 1 else ''}{counted(len(tables), 'table')} in full")

    def progress(self, stage: str, unit: str) -> "Shown":
        """Shows progress on standard error, from now on: a bar in a terminal, lines elsewhere, nothing when quiet."""
        from pure_cli.views.progress import Shown, shown

        return Shown() if self.quiet else shown(stage, unit, self.console)

    def do(self, stage: str, verify: bool = True) -> "Outcome":
        """Do a stage with the options of this run.

        Parameters
        ----------
        verify : where that was asked for
        """
        options = self.options(stage)
        if not verify:
            options.pop("verify", None)
        self._tell_of_others(stage, options)
        with self.progress(stage, STAGES[stage].unit_with(options)) as progress:
            return self.workspace.do(stage, options, progress)

    def _tell_of_others(self, stage: str, options: Mapping[str, Any]) -> None:
        """Where this is one of several processes, and each would do all of the work."""
        from pure_cli.config import known_options

        if "part" in known_options(stage) and "part" not in options:
            from pure_cli.settings.parts import others_started

            if sentence := others_started(os.environ):
                self.note(sentence)

    def report(self, outcome: "Outcome", what: str, **more: Any) -> None:
        """Tell what a stage did, as a JSON object too where that was asked for."""
        self.tell(outcome, what)
        if self.json:
            print_json(outcome_json(outcome, self.workspace.place, **more))

    def tell(self, outcome: "Outcome", what: str) -> None:
        """Tell what a stage did: its notes, and a line."""
        for sentence in outcome.notes:
            self.note(sentence)
        layers, part = escaped(", ".join(outcome.layers)), outcome.part
        if outcome.up_to_date:
            which = f" ({layers})" if layers else ""
            self.say(f"[green]✓[/] {outcome.stage}: {f'{part}: ' if part else ''}up to date{which}")
        else:
            what = f"{part} ({layers})" if part else escaped(what)
            self.say(f"[green]✓[/] {outcome.stage}: {what} in {duration(outcome.seconds)}")
        if self.verbose:
            for name, value in outcome.details.items():
                if isinstance(value, str | int | float):
                    self.say(f"  {name}: {escaped(str(value))}")


def outcome_json(outcome: "Outcome", workspace: str, **more: Any) -> dict[str, Any]:
    """An outcome as a JSON object."""
    return {
        "stage": outcome.stage,
        "workspace": workspace,
        "layers": outcome.layers,
        "up_to_date": outcome.up_to_date,
        "computed": outcome.computed,
        "unit": outcome.unit,
        "seconds": round(outcome.seconds, 3),
        "notes": outcome.notes,
        **outcome.details,
        **more,
    }


def print_error(message: str, code: int) -> None:
    """What went wrong as a JSON object; nothing where no one reads it any more."""
    with contextlib.suppress(OSError):
        print_json({"error": message.removeprefix("Error: "), "exit_code": code})
        sys.stdout.flush()


def print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, default=str, allow_nan=False) + "\n")


def escaped(text: str) -> str:
    """Text of the user's, safe for rich and for a terminal: no markup, no control characters, no broken names."""
    from rich.markup import escape

    return escape(printable(text))
