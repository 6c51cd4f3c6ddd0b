"""pure freeze"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped
from pure_cli.words import counted


def freeze(session: Session) -> None:
    """Write the units with known meanings of a layer as a file: a track of pure benchmark.

    The units are those of pure calibrate, with their references, and what they mean; the file has neither the images
    nor the network, and refuses others than these.

    Example: pure freeze --layer layer3 --budget 0.5 -o my-track.npz
    """
    outcome = session.do("freeze")
    found = outcome.details
    file = f"{escaped(found['file'])} (version {found['version']}, {found['bytes']:,} bytes)"
    session.report(outcome, f"{counted(outcome.computed, 'unit')} in {file}")


COMMAND = Command(freeze, order=95, panel=BEYOND, settings="pure_cli.settings.freeze:FreezeSettings")
