"""pure export"""

from pure_cli.commands.command import WHOLE, Command
from pure_cli.commands.common import Session, escaped
from pure_cli.words import counted


def export(session: Session) -> None:
    """Write the images of each virtual neuron as a table: CSV or Parquet.

    A row is a reference of a neuron: address (layer4/201.2), image, score, share of the virtual neuron, class.

    Example: pure export --k 2 -o meanings.csv
    """
    outcome = session.do("export")
    session.report(outcome, f"{counted(outcome.computed, 'row')} in {escaped(outcome.details['file'])}")


COMMAND = Command(export, order=85, panel=WHOLE, settings="pure_cli.settings.export:ExportSettings")
