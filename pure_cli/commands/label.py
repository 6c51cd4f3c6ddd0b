"""pure label"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session
from pure_cli.words import counted

SHOWN = 20  # rows of a long table, without --verbose


def label(session: Session) -> None:
    """Say in words what neurons and virtual neurons respond to, and how far the words can be trusted.

    Words are chosen by embeddings of the references (or by soft WPMI), and judged on images that had no part in the
    choice: what tells images no better than chance is "no label".

    Example: pure label --concepts imagenet --neurons 201,2
    """
    outcome = session.do("label")
    for table in outcome.details["tables"]:
        session.show(table if session.verbose else {**table, "rows": table["rows"][:SHOWN]})
        if len(table["rows"]) > SHOWN and not session.verbose and not session.json:
            session.say(f"  -v shows all {counted(len(table['rows']), 'unit')}, --json too")
    session.report(outcome, f"labels of {counted(outcome.computed, 'neuron')}")


COMMAND = Command(label, order=93, panel=BEYOND, settings="pure_cli.settings.label:LabelSettings")
