"""pure atlas"""

from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped
from pure_cli.words import listed

UNITS = ("B", "kB", "MB", "GB")


def atlas(session: Session) -> None:
    """Build a page on which one walks through layers: maps, tables, images, circuits; it opens from the disk.

    Example: pure atlas
    """
    outcome = session.do("atlas")
    session.report(outcome, f"{outcome.computed:,} neurons of {', '.join(outcome.layers)}")
    session.say(f"  {escaped(outcome.details['page'])} ({in_bytes(outcome.details['bytes'])})")
    if missing := outcome.details["missing"]:
        session.say(f"  Not in it yet: {listed(missing)}. The page says which commands add them.")
    page = session.workspace.local(outcome.details["page"])
    session.say(f"  Open it in a browser: {escaped(page.absolute().as_uri())}")


def in_bytes(count: int) -> str:
    """A size as a person says it."""
    size = float(count)
    for unit in UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} {UNITS[-1]}"


COMMAND = Command(atlas, order=66, panel=BEYOND, settings="pure_cli.settings.atlas:AtlasSettings")
