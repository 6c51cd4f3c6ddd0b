"""pure demo"""

from typing import Annotated

import typer

from pure_cli.commands.command import FIRST, Command
from pure_cli.commands.common import Session, escaped, print_json
from pure_cli.commands.options import HABITS
from pure_cli.commands.run import run_stages
from pure_cli.errors import PureError
from pure_cli.remote.urls import is_url

DEFAULT = "pure-demo"
REFERENCES = 50  # of about 180 images of each digit
SHOWN = 6  # figures, of the neurons split most clearly
CLIP = "clip-image:demo-digits"  # a tiny one that comes with the package, and knows digits
JUDGED = 500  # images, one half of which chooses labels while the other judges them
MEASURED = ["outputs", "stability"]


def demo(
    session: Session,
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            rich_help_panel=HABITS,
            help="Folder of the results. [default: ./pure-demo]",
        ),
    ] = None,
) -> None:
    """Run everything on data and a trained network that come with the package: handwritten digits, a small ResNet.

    Ends with an atlas of its neurons. Needs no network, and about a minute.

    Example: pure demo
    """
    from pure_cli.demo.images import write_digits

    if workspace and is_url(workspace):
        raise PureError(f"The demo's images lie in its workspace, and {workspace} is no folder of this machine.")
    session = Session({**session.given, "workspace": workspace or DEFAULT})
    folder = session.workspace.path / "digits"
    count = write_digits(folder, split="all")
    session.say(f"{count:,} images of handwritten digits in {escaped(str(folder))}")
    session.content = {"model": "digits", "data": str(folder), "references": REFERENCES, "device": "cpu"}
    session.content["crop"] = "none"  # what a neuron sees of a digit is a few strokes; the whole digit can be read
    session.content |= {"embed": {"embedder": CLIP}, "label": {"concepts": "classes", "sample": JUDGED}}
    session.content |= {"evaluate": {"metric": MEASURED, "k": 2, "features": "usual"}, "render": {"top": SHOWN}}
    run_stages(session, ("collect", "attribute", "cluster", "embed", "label"))
    drawn, _, atlas = run_stages(session, ("render", "evaluate", "atlas"))
    table = session.workspace.virtual_neuron_tables(session.json or session.verbose)[0]
    session.show_virtual_neurons([table])
    files = drawn.details["files"]
    session.say(f"The figure of the most clearly split neuron: {escaped(files[0])}")
    page = atlas.details["page"]
    session.say(f"The atlas, which opens in a browser: {escaped(page)}")
    session.say(f"More: pure info -w {escaped(str(session.workspace.path))}")
    if session.json:
        print_json({"workspace": str(session.workspace.path), "figures": files, "atlas": page, "tables": [table]})


COMMAND = Command(demo, order=5, panel=FIRST, without=("config",))
