"""pure run"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pure_cli.commands.command import WHOLE, Command
from pure_cli.commands.common import Session, escaped, outcome_json, print_json
from pure_cli.errors import PureError
from pure_cli.registry import COMMANDS

if TYPE_CHECKING:
    from pure_cli.stages.outcome import Outcome


def run(session: Session) -> None:
    """Run all stages of a config file in order, skipping what is up to date.

    Example: pure run -c study.yaml
    """
    from pure_cli.config import make, stage_names, stages_of

    if session.given["config"] is None:
        raise PureError("pure run needs --config FILE, a YAML file of options, such as 'model' and 'data'.")
    stages = stages_of(session.content)
    for name in sorted(session.content.keys() & COMMANDS.keys() - set(stage_names())):
        session.note(f"The section '{name}' is of a command that is no stage: `pure {name} -c FILE` heeds it.")
    for stage in stages[1:]:  # the first one checks its own at once; the others would after hours
        make(stage, session.options(stage))
    outcomes = run_stages(session, stages)
    made = (
        session.workspace.virtual_neuron_tables(session.json or session.verbose, **session.options("cluster"))
        if "cluster" in stages
        else []
    )
    session.show_virtual_neurons(made)
    for outcome in outcomes:
        session.show_tables(outcome.details.get("tables", []))
    for outcome in outcomes:
        for folder in _folders(outcome):
            session.say(f"  {outcome.stage}: {escaped(folder)}")
    session.say(f"  all results: {escaped(session.workspace.place)}")
    if session.json:
        told = [outcome_json(outcome, session.workspace.place) for outcome in outcomes]
        print_json({"stages": told, "tables": made})


def _folders(outcome: "Outcome") -> list[str]:
    """Where a stage wrote what one looks at."""
    one = outcome.details.get("folder")
    return outcome.details.get("folders", [one] if one else [])


def run_stages(session: Session, stages: Sequence[str]) -> "list[Outcome]":
    """Stages in order with the session's options, each told as it ends."""
    outcomes: list[Outcome] = []
    for stage in stages:
        outcome = session.do(stage, verify=not outcomes)  # once is enough
        session.tell(outcome, f"{outcome.computed:,} {outcome.unit}")
        outcomes.append(outcome)
    return outcomes


COMMAND = Command(run, order=70, panel=WHOLE, settings="pure_cli.settings.run:RunSettings")
