"""What a file of `pure_cli.commands` declares to be a subcommand. Light: `pure --help` imports all of them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter
from typing import Any

from pure_cli.commands.common import Session, reports_errors
from pure_cli.commands.options import declared, habits, is_argument

# Panels of `pure --help`
FIRST, STAGES, WHOLE, BEYOND = "First", "Stages, one after the other", "All of it", "Beyond the paper"
MORE = "More"
SESSION = "session"


@dataclass(frozen=True)
class Command:
    """A subcommand, which goes by the name of its file.

    Attributes
    ----------
    run : called with the `Session`, and with options of its own as typer's parameters, of which arguments come before
        those of the settings; its docstring is the help
    order : in the list of commands, which is that of the work: collect is 10, evaluate 50, info 80
    panel : of that list
    settings : whose options it has, as ``module:Class``
    without : options that all commands have, and this one does not
    any_options : it takes what it does not know, and finds it in the context's ``args``
    """

    run: Callable[..., None]
    order: int = 200
    panel: str = MORE
    settings: str = ""
    without: tuple[str, ...] = ()
    any_options: bool = False

    def callback(self) -> Callable[..., None]:
        """A function for typer, which has all options as parameters; the settings are imported now."""
        own = {
            name: parameter.replace(kind=Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(self.run, eval_str=True).parameters.items()
            if name != SESSION
        }

        kinds = {name: parameter.annotation for name, parameter in own.items()}

        def call(**given: Any) -> None:
            self.run(Session(given, kinds), **{name: given[name] for name in own})

        guarded: Any = reports_errors(call)
        guarded.__name__, guarded.__doc__ = self.run.__name__, self.run.__doc__
        general = [parameter for parameter in habits() if parameter.name not in (*self.without, *own)]
        first = [parameter for parameter in own.values() if is_argument(parameter)]
        rest = [parameter for parameter in own.values() if not is_argument(parameter)]
        parameters = [*first, *self._declared(), *rest, *general]
        guarded.__signature__ = inspect.Signature(parameters)
        guarded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return guarded

    def _declared(self) -> list[Parameter]:
        if not self.settings:
            return []
        module, _, name = self.settings.partition(":")
        return list(declared(getattr(import_module(module), name)))
