"""pure embed"""

from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session
from pure_cli.words import counted


def embed(session: Session) -> None:
    """Embed every reference image, cut to what the neuron saw of it, with a foundation model.

    Only what is not there yet is computed; a killed run goes on where it was.

    Example: pure embed --embedder clip --embedder dinov2
    """
    outcome = session.do("embed")
    names = ", ".join(outcome.details["embedders"])
    session.report(outcome, f"{counted(outcome.details.get('embeddings', 0), 'embedding')} ({names})")


COMMAND = Command(embed, order=30, panel=STAGES, settings="pure_cli.settings.embed:EmbedSettings")
