"""pure collect"""

from typing import Annotated

import typer

from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, print_json


def collect(
    session: Session,
    list_layers: Annotated[
        bool, typer.Option("--list-layers", help="Show the model's layers with their shapes, and stop.")
    ] = False,
) -> None:
    """Find every neuron's reference images: those that excite it most.

    One pass over the images, for several layers at once; a killed pass goes on where it was.

    Example: pure collect --model resnet50 --data imagenet/val
    """
    if list_layers:
        _show_layers(session)
        return
    outcome = session.do("collect")
    what = f"{outcome.details.get('images', 0):,} images for the neurons of {', '.join(outcome.layers)}"
    session.report(outcome, what)


def _show_layers(session: Session) -> None:
    with session.progress("layers", "layers"):
        found = session.workspace.list_layers(**session.options("collect"))
    if session.json:
        print_json(found)
        return
    notes = {found["default"]: "default layer", found["default_lower"]: "default lower layer"}
    rows = []
    for layer in found["layers"]:
        note = notes.get(layer["name"], "")
        if layer["calls"] > 1:
            note = f"runs {layer['calls']} times: cannot be used"
        shape = " × ".join(map(str, layer["shape"])) if layer["shape"] else "no single tensor"
        rows.append({"layer": layer["name"], "module": layer["kind"], "output": shape, "note": note})
    session.show({"title": "", "columns": ["layer", "module", "output", "note"], "rows": rows, "note": ""})


COMMAND = Command(collect, order=10, panel=STAGES, settings="pure_cli.settings.collect:CollectSettings")
