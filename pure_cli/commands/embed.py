"""pure embed"""

from pathlib import Path
from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, reports_errors
from pure_cli.registry import EMBEDDERS
from pure_cli.words import counted

EMBEDDER = "More on the embedder"


@reports_errors
def embed(
    neurons: opt.Neurons = None,
    layer: opt.Layers = None,
    embedder: Annotated[
        list[str] | None,
        typer.Option(
            "--embedder",
            metavar="E",
            help=f"Repeat for several. {EMBEDDERS.listed()}. [default: clip]",
        ),
    ] = None,
    embedder_layer: Annotated[
        str | None,
        typer.Option(
            "--embedder-layer", metavar="LAYER", rich_help_panel=EMBEDDER, help="Of the embedder, pooled over space."
        ),
    ] = None,
    embedder_weights: Annotated[
        Path | None,
        typer.Option(
            "--embedder-weights",
            metavar="FILE",
            rich_help_panel=EMBEDDER,
            help="A local checkpoint. [default: those of embeddings with this name, else downloaded]",
        ),
    ] = None,
    embedder_size: Annotated[
        int | None,
        typer.Option(
            "--embedder-size",
            metavar="PX",
            rich_help_panel=EMBEDDER,
            help="Side of its input. [default: its own; 224 for dinov2]",
        ),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            "--crop",
            help="What to embed: crp, cut to what the neuron saw by its heatmap; activation, by its map (far cheaper); "
            "none, the whole image. [default: crp]",
        ),
    ] = None,
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
    """Embed every reference image, cut to what the neuron saw of it, with a foundation model.

    Only what is not there yet is computed; a killed run goes on where it was.

    Example: pure embed --embedder clip --embedder dinov2
    """
    session = Session(locals())
    with session.progress("embed", "steps") as progress:
        outcome = session.workspace.embed(progress, **session.options("embed"))
    names = ", ".join(outcome.details["embedders"])
    session.report(outcome, f"{counted(outcome.details.get('embeddings', 0), 'embedding')} ({names})")


COMMAND = Command(embed, order=30, panel=STAGES)
