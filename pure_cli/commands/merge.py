"""pure merge"""

from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session
from pure_cli.words import listed


def merge(session: Session) -> None:
    """Put together what processes with --part have found, once all parts are there.

    The files are the same, byte for byte, as those that one process makes.

    Example: pure merge
    """
    outcome = session.do("merge")
    stages = listed([f"`pure {stage}`" for stage in outcome.details["stages"]])
    if not outcome.computed:
        session.note("There are no parts that are not merged.")
    session.report(outcome, f"{outcome.computed:,} parts of {stages}")


COMMAND = Command(merge, order=15, panel=STAGES, settings="pure_cli.settings.merge:MergeSettings")
