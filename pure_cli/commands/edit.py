"""pure edit"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped
from pure_cli.words import counted


def edit(session: Session) -> None:
    """See what the network does without some virtual neurons: each class's logit, predictions and accuracy.

    A virtual neuron that is silenced takes its share of its neuron's activation with it, image by image.

    Example: pure edit --silence layer4/201.2 --data imagenet/val
    """
    outcome = session.do("edit")
    session.show_tables(outcome.details["tables"])
    session.report(outcome, f"{counted(outcome.computed, 'image')} in {escaped(outcome.details['file'])}")


COMMAND = Command(edit, order=96, panel=BEYOND, settings="pure_cli.settings.edit:EditSettings")
