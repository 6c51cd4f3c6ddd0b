"""A hook of mkdocs: puts the reference where a page has ``<!-- generated: … -->``, which a code host does not show.

``commands`` stands for every command and option of the Typer app, another name for a Python object (by mkdocstrings).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

MARKER = re.compile(r"^<!-- generated: ([\w.]+) -->$", re.MULTILINE)
COMMANDS = "commands"
CONTRIBUTING = "contributing.md"
PIPE = "\\|"  # in a table, as a code host wants it; Python-Markdown would show the backslash
CODE_WITH_PIPE = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
TAKES = {"int": "N", "float": "X", "Path": "PATH", "str": "TEXT"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds CONTRIBUTING.md, which a code host wants at the top, as a page."""
    from mkdocs.structure.files import File

    content = Path(config.config_file_path).with_name("CONTRIBUTING.md").read_text(encoding="utf-8")
    files.append(File.generated(config, CONTRIBUTING, content=content.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    markdown = markdown.replace("](../CONTRIBUTING.md", f"]({CONTRIBUTING}")
    found = MARKER.findall(markdown)
    if found == [COMMANDS]:
        markdown = MARKER.sub(lambda _: commands(), markdown)
    elif found:
        heading = f"## Reference\n\n::: {found[0]}"
        markdown = MARKER.sub(lambda match: f"::: {match[1]}", markdown).replace(f"::: {found[0]}", heading, 1)
    return CODE_WITH_PIPE.sub(lambda match: f"<code>{literal(match[1].replace(PIPE, '|'))}</code>", markdown)


def literal(text: str) -> str:
    """Text in which nothing is Markdown or HTML."""
    return re.sub(r"[^\w\s]", lambda match: f"&#{ord(match[0])};", text)


def commands() -> str:
    """Every command of the app: what it does, and a table of options for each panel of its help."""
    from pure_cli.registry import COMMANDS

    ordered = sorted(COMMANDS.values(), key=lambda command: command.order)
    return "\n\n".join(["## All options", *(section(command.callback()) for command in ordered)])


def section(callback: Callable[..., Any]) -> str:
    """A command: its docstring, its example, its options."""
    text, _, example = inspect.cleandoc(callback.__doc__ or "").partition("Example:")
    panels: dict[str, list[str]] = {}
    for name, parameter in inspect.signature(callback, eval_str=True).parameters.items():
        kind, info = get_args(parameter.annotation)
        panel = info.rich_help_panel or type(info).__name__.replace("Info", "s")
        panels.setdefault(panel, []).append(row(name, kind, info))
    tables = ["\n".join([f"| {panel} | |", "|---|---|", *rows]) for panel, rows in panels.items()]
    return "\n\n".join([f"### pure {callback.__name__}", text.strip(), f"```console\n{example.strip()}\n```", *tables])


def row(name: str, kind: Any, info: Any) -> str:
    """A line of the table: the names of an option with what it takes, and its help."""
    declared = [info.default, *(info.param_decls or ())]  # Annotated[…, Option("--a", "-a")]: the first is `default`
    names = [part for text in declared if str(text).startswith("-") for part in text.split("/")]
    names = names or ["--" + name.replace("_", "-")]
    takes = f"`{info.metavar or value_of(kind)}`".replace("``", "")
    if type(info).__name__ == "ArgumentInfo":
        names = []
    shown = " ".join(filter(None, [", ".join(f"`{name}`" for name in names), takes]))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in (shown, info.help or "")) + " |"


def value_of(kind: Any) -> str:
    """What an option of this type takes; "" for a switch."""
    while arguments := [argument for argument in get_args(kind) if argument is not NoneType]:
        kind = arguments[0]
    return TAKES.get(kind.__name__, "")
