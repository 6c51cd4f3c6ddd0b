"""pure calibrate"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped


def calibrate(session: Session) -> None:
    """Find the recipe that tells meanings apart on this network and data, by units whose meanings are known.

    Makes units with one, two or three meanings, clusters them like neurons, and compares lower layers, features and
    rules for k with the truth; leaks are looked for. Then --recipe calibrated, --lower-layer auto and --features auto
    use what was found.

    Example: pure calibrate --layer layer4 --budget 0.5
    """
    outcome = session.do("calibrate")
    session.show_tables(outcome.details["tables"])
    session.report(outcome, ", ".join(outcome.layers))
    for name, recipe in outcome.details["recipes"].items():
        session.say(f"  {escaped(name)}: {escaped(recipe['features'])}, k by {recipe['rule']}")
    session.say_folders(outcome.details["tables"], outcome.details["folders"])


COMMAND = Command(calibrate, order=90, panel=BEYOND, settings="pure_cli.settings.calibrate:CalibrateSettings")
