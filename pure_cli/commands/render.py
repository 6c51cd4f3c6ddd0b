"""pure render"""

from pathlib import Path
from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, escaped, reports_errors

FIGURES = "The figures"


@reports_errors
def render(
    neurons: opt.Neurons = None,
    layer: opt.Layers = None,
    features: Annotated[
        list[str] | None,
        typer.Option("--features", help="Whose clusters to show; repeat for several. [default: pure]"),
    ] = None,
    transform: opt.Transform = None,
    k: Annotated[
        str | None,
        typer.Option(
            "--k", metavar="LIST", help="Which clusterings to show, as in 2 or 2,3. [default: the smallest that splits]"
        ),
    ] = None,
    recipe: opt.RecipeName = None,
    crop: Annotated[
        str | None,
        typer.Option(
            "--crop", help="crp: cut and darken to what the neuron saw; activation: by its map; none. [default: crp]"
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", rich_help_panel=FIGURES, help="Images in a row, 8 at most. [default: 8]")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", rich_help_panel=FIGURES, help="png, pdf or svg. [default: png]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            rich_help_panel=FIGURES,
            help="Folder of the figures. [default: figures in the workspace]",
        ),
    ] = None,
    seed: opt.Seed = None,
    device: opt.DeviceName = None,
    deterministic: opt.Deterministic = None,
    batch_size: opt.BatchSize = None,
    force: opt.Force = None,
    verify: opt.Verify = None,
    workspace: opt.WorkspaceDir = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Draw a figure for each neuron: its references on a map, and rows of what each virtual neuron responds to.

    Example: pure render --neurons 201 --format pdf
    """

    session = Session(locals())
    with session.progress("render", "figures") as progress:
        outcome = session.workspace.render(progress, **session.options("render"))
    files = outcome.details["files"]
    session.report(outcome, f"{outcome.computed:,} figures of {', '.join(outcome.layers)}")
    more = f" and {len(files) - 1} more in {outcome.details['folder']}" if len(files) > 1 else ""
    session.say(f"  {escaped(files[0] + more)}")


COMMAND = Command(render, order=60, panel=STAGES)
