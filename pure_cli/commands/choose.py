"""pure choose"""

from pure_cli.commands.command import WHOLE, Command
from pure_cli.commands.common import Session


def choose(session: Session) -> None:
    """Choose which virtual neurons an address such as layer4/201.2 means, where there are several clusterings.

    Figures, tables, files and Python follow. Without options, it shows what there is and what is chosen.

    Example: pure choose --features pure --k 3
    """
    outcome = session.do("choose")
    session.show_tables(outcome.details["tables"])
    session.report(outcome, ", ".join(outcome.layers))


COMMAND = Command(choose, order=75, panel=WHOLE, settings="pure_cli.settings.choose:ChooseSettings")
