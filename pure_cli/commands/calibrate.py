"""pure calibrate"""

from pathlib import Path
from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import Session, escaped, reports_errors


@reports_errors
def calibrate(
    layer: opt.Layers = None,
    lower_layer: Annotated[
        list[str] | None,
        typer.Option(
            "--lower-layer",
            metavar="LAYER",
            help="To be tried beside the paper's; repeat for several. [default: the parts of the layer]",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="X",
            help="1: 90 units of each kind and number of meanings; the time goes with it. [default: 1]",
        ),
    ] = None,
    grouping: Annotated[
        Path | None,
        typer.Option(
            "--grouping",
            metavar="FILE",
            help="A .csv file with a line class,group for each class: groups are the meanings. [default: the classes]",
        ),
    ] = None,
    latex: opt.Latex = None,
    seed: opt.Seed = None,
    device: opt.DeviceName = None,
    batch_size: opt.BatchSize = None,
    workers: opt.Workers = None,
    deterministic: opt.Deterministic = None,
    force: opt.Force = None,
    verify: opt.Verify = None,
    workspace: opt.WorkspaceDir = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Find the recipe that tells meanings apart on this network and data, by units whose meanings are known.

    Makes units with one, two or three meanings, clusters them like neurons, and compares lower layers, features and
    rules for k with the truth; leaks are looked for. Then --recipe calibrated, --lower-layer auto and --features auto
    use what was found.

    Example: pure calibrate --layer layer4 --budget 0.5
    """

    session = Session(locals())
    with session.progress("calibrate", "steps") as progress:
        outcome = session.workspace.calibrate(progress, **session.options("calibrate"))
    session.show_tables(outcome.details["tables"])
    session.report(outcome, ", ".join(outcome.layers))
    for name, recipe in outcome.details["recipes"].items():
        session.say(f"  {escaped(name)}: {escaped(recipe['features'])}, k by {recipe['rule']}")
    session.say_folders(outcome.details["tables"], outcome.details["folders"])


COMMAND = Command(calibrate, order=90, panel=BEYOND)
