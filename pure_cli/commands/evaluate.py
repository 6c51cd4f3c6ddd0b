"""pure evaluate"""

from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, reports_errors
from pure_cli.errors import PureError
from pure_cli.registry import METRICS
from pure_cli.words import counted

MEASURING = "How it is measured"


@reports_errors
def evaluate(
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="M",
            help="Repeat for several. clip, dinov2 or any embeddings in the workspace (separation, by these), "
            f"{METRICS.listed()}.",
        ),
    ] = None,
    layer: opt.Layers = None,
    neurons: opt.Neurons = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            help="Kinds to compare; repeat. [default: pure, activations, embeddings that have all of the neurons]",
        ),
    ] = None,
    k: Annotated[str | None, typer.Option("--k", metavar="LIST", help="[default: 2,3,4,5]")] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="E",
            rich_help_panel=MEASURING,
            help="Embeddings that judge, where a metric needs some. [default: clip, or the only ones there are]",
        ),
    ] = None,
    polysemantic: Annotated[
        float | None,
        typer.Option(
            "--polysemantic",
            metavar="GAP",
            rich_help_panel=MEASURING,
            help="A table too for the neurons that the judge itself splits by more (inter − intra). "
            "[default: 1.5 for clip, as in the paper; for other judges the same in their scale]",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            metavar="N",
            rich_help_panel=MEASURING,
            help="ms: over N images of the whole data set too. [default: 0]",
        ),
    ] = None,
    embed: Annotated[
        bool | None, typer.Option("--embed", help="Make the embeddings that are missing on the way.")
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
    """Measure how good the virtual neurons are, for all kinds of features and numbers of clusters.

    Tables here, as CSV and JSON in the workspace; figures beside them; values of each neuron and virtual neuron in
    evaluate.h5. A run on some --neurons, --k or --features stands beside the whole one.

    Example: pure evaluate --metric clip --metric labels
    """

    session = Session(locals())
    with session.progress("evaluate", "steps") as progress:
        given = session.options("evaluate")
        if not given.get("metric"):
            raise PureError(
                "Name what to measure: --metric clip (or any embeddings), correlation, labels, stability, semantics, "
                "ms or planted."
            )
        outcome = session.workspace.evaluate(progress, **given)
    session.show_tables(outcome.details["tables"])
    session.report(outcome, f"{counted(outcome.computed, 'metric')} of {', '.join(outcome.layers)}")
    session.say_folders(outcome.details["tables"], outcome.details["folders"])


COMMAND = Command(evaluate, order=50, panel=STAGES)
