"""pure audit"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session


def audit(session: Session) -> None:
    """Find what drives a class: the virtual neurons without which its output falls.

    Those that respond most to other classes are candidates for spurious features; references that stand out may be
    wrongly labelled. All of it is held against virtual neurons drawn at random.

    Example: pure audit ship -n 20
    """
    outcome = session.do("audit")
    session.show_tables(outcome.details["tables"])
    session.report(outcome, f"{outcome.computed:,} class{'' if outcome.computed == 1 else 'es'}")


COMMAND = Command(audit, order=95, panel=BEYOND, settings="pure_cli.settings.audit:AuditSettings")
