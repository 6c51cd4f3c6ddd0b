"""pure render"""

from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, escaped


def render(session: Session) -> None:
    """Draw a figure for each neuron: its references on a map, and rows of what each virtual neuron responds to.

    Example: pure render --neurons 201 --format pdf
    """
    outcome = session.do("render")
    files = outcome.details["files"]
    session.report(outcome, f"{outcome.computed:,} figures of {', '.join(outcome.layers)}")
    more = f" and {len(files) - 1} more in {outcome.details['folder']}" if len(files) > 1 else ""
    session.say(f"  {escaped(files[0] + more)}")


COMMAND = Command(render, order=60, panel=STAGES, settings="pure_cli.settings.render:RenderSettings")
