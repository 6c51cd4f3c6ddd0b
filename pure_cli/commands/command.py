"""What a file of `pure_cli.commands` declares to be a subcommand. Light: `pure --help` imports all of them."""

from collections.abc import Callable
from dataclasses import dataclass

# Panels of `pure --help`
FIRST, STAGES, WHOLE, BEYOND = "First", "Stages, one after the other", "All of it", "Beyond the paper"
MORE = "More"


@dataclass(frozen=True)
class Command:
    """A subcommand, which goes by the name of its file.

    Attributes
    ----------
    run : with typer's options as parameters; its docstring is the help
    order : in the list of commands, which is that of the work: collect is 10, evaluate 50, info 80
    panel : of that list
    any_options : it takes what it does not know, and finds it in the context's ``args``
    """

    run: Callable[..., None]
    order: int = 200
    panel: str = MORE
    any_options: bool = False
