"""pure attribute"""

from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session


def attribute(session: Session) -> None:
    """Attribute each neuron's activation to the channels of a lower layer, for all its references.

    Only what is not there yet is computed; a killed run goes on where it was.

    Example: pure attribute --neurons 201,2,341
    """
    outcome = session.do("attribute")
    pairs, lower_layers = outcome.details.get("pairs", 0), outcome.details.get("lower_layers", [])
    where = f"{', '.join(outcome.layers)} at {', '.join(lower_layers)}"
    session.report(outcome, f"{outcome.computed:,} neurons of {where}, {pairs:,} references")


COMMAND = Command(attribute, order=20, panel=STAGES, settings="pure_cli.settings.attribute:AttributeSettings")
