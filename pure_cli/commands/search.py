"""pure search"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped
from pure_cli.words import counted


def search(session: Session) -> None:
    """Find the neurons and virtual neurons for something, said in words or shown in images.

    By the similarity of words or images with the embeddings of references (pure embed --embedder clip-image). A table,
    and a contact sheet of what they respond to.

    Example: pure search "dog nose" -n 20
    """
    outcome = session.do("search")
    session.show_tables(outcome.details["tables"])
    session.report(outcome, f"{counted(outcome.computed, 'unit')} looked at")
    for file in outcome.details["files"]:
        session.say(f"  {escaped(file)}")


COMMAND = Command(search, order=94, panel=BEYOND, settings="pure_cli.settings.search:SearchSettings")
