"""pure attribute"""

from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, reports_errors
from pure_cli.registry import RULES

HOW = "How relevance is computed and kept"


@reports_errors
def attribute(
    neurons: Annotated[
        str | None, typer.Option("--neurons", metavar="LIST", help="As in 201,2,341 or 0-63. [default: all]")
    ] = None,
    layer: opt.Layers = None,
    lower_layer: Annotated[
        list[str] | None,
        typer.Option(
            "--lower-layer",
            metavar="LAYER",
            help="Whose channels get the relevance; repeat for several. A function goes by its module: layer4.1:relu. "
            "[default: the preset's, or the stage before]",
        ),
    ] = None,
    recipe: opt.RecipeName = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            metavar="RULE",
            rich_help_panel=HOW,
            help=f"How relevance is computed. {RULES.listed()}. [default: gradient-x-input]",
        ),
    ] = None,
    position: Annotated[
        str | None,
        typer.Option(
            "--position",
            metavar="WHICH",
            rich_help_panel=HOW,
            help="Where the neuron's activation counts: all, or max, its maximal position alone. [default: all]",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="TYPE",
            rich_help_panel=HOW,
            help="float32, or bfloat16: about 1.5 times as fast where the processor has it, with other results; for "
            "gradient-x-input. [default: float32]",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="TYPE",
            rich_help_panel=HOW,
            help="float32, or float16: relevances take half of the disk. [default: float32]",
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
    """Attribute each neuron's activation to the channels of a lower layer, for all its references.

    Only what is not there yet is computed; a killed run goes on where it was.

    Example: pure attribute --neurons 201,2,341
    """
    session = Session(locals())
    with session.progress("attribute", "pairs") as progress:
        outcome = session.workspace.attribute(progress, **session.options("attribute"))
    pairs = outcome.details.get("pairs", 0)
    session.report(outcome, f"{outcome.computed:,} neurons of {', '.join(outcome.layers)}, {pairs:,} references")


COMMAND = Command(attribute, order=20, panel=STAGES)
