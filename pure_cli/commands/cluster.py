"""pure cluster"""

from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, reports_errors


@reports_errors
def cluster(
    neurons: opt.Neurons = None,
    layer: opt.Layers = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            help="pure, pure@LOWER_LAYER (@A+B joins two), activation-max, activation-mean, lower-activation or "
            "embeddings; repeat for several. [default: pure]",
        ),
    ] = None,
    transform: opt.Transform = None,
    k: Annotated[
        str | None,
        typer.Option(
            "--k",
            metavar="LIST",
            help="Virtual neurons for each neuron, as in 2 or 2,3,4; auto: as many as the evidence says, perhaps one. "
            "[default: 2]",
        ),
    ] = None,
    recipe: opt.RecipeName = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="BY",
            help="silhouette, the clearest split first; polysemantic, with --k auto; or neuron. [default: silhouette]",
        ),
    ] = None,
    seed: opt.Seed = None,
    force: opt.Force = None,
    verify: opt.Verify = None,
    workspace: opt.WorkspaceDir = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Split each neuron into virtual neurons: clusters of its references by circuit.

    Shows the neurons, the most clearly split first. With --k auto, polysemanticity says how much clearer the split is
    than splits of one cloud of the same shape (0 to 1), and p how often such a cloud gives one as clear.

    Example: pure cluster --neurons 201,2,341 --k 2,3
    """
    session = Session(locals())
    with session.progress("cluster", "fits") as progress:
        given = session.options("cluster")
        outcome = session.workspace.cluster(progress, **given)
    tables = session.workspace.virtual_neuron_tables(session.json, **given)
    session.show_virtual_neurons(tables)
    session.report(outcome, f"{outcome.computed:,} fits for {', '.join(outcome.layers)}", tables=tables)


COMMAND = Command(cluster, order=40, panel=STAGES)
