"""pure assign"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped
from pure_cli.words import counted


def assign(session: Session) -> None:
    """Find the share of each virtual neuron in images of any data set, over the whole range of activation.

    One pass over the images, then the circuits of some on which each neuron fires, from the faintest to the strongest;
    a killed run goes on where it was. What is unlike all virtual neurons is told. See pure choose for whose they are.

    Example: pure assign --neurons 201,2 --data imagenet/val
    """
    outcome = session.do("assign")
    session.show_tables(outcome.details["tables"])
    session.report(outcome, f"{counted(outcome.computed, 'neuron')} of {', '.join(outcome.layers)}")
    if files := outcome.details.get("files"):
        more = f" and {len(files) - 1} more beside it" if len(files) > 1 else ""
        session.say(f"  {escaped(files[0] + more)}")


COMMAND = Command(assign, order=95, panel=BEYOND, settings="pure_cli.settings.assign:AssignSettings")
