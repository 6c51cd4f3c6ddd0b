"""pure cluster"""

from typing import Annotated, Any

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, escaped, reports_errors

ROWS = 20  # of the table; JSON and cluster.h5 have all


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
    given = session.options("cluster")
    with session.progress("cluster", "fits") as progress:
        outcome = session.workspace.cluster(progress, **given)
    tables = session.workspace.virtual_neuron_tables(**given)
    if not session.json and not session.quiet:
        for table in tables:
            show_table(session, table)
    session.report(outcome, f"{outcome.computed:,} fits for {', '.join(outcome.layers)}", tables=tables)


def show_table(session: Session, table: dict[str, Any], rows: int = ROWS) -> None:
    """The neurons of one clustering in the terminal."""
    from rich.table import Table

    title = f"{table['layer']}, {table['features']} features, k = {table['k']}"
    shown = Table(
        title=escaped(title),
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    chosen = any("p" in row for row in table["neurons"])
    columns = [("neuron", "right"), ("sizes", "left"), ("silhouette", "right"), ("distance", "right")]
    columns += [("polysemanticity", "right"), ("p", "right"), ("one by", "left")] if chosen else []
    tied = any(row["tied"] for row in table["neurons"])
    columns += [("tied", "right")] if tied else []
    for name, justify in columns:
        shown.add_column(name, justify=justify)  # type: ignore[arg-type]
    named = any(_classes(virtual) for row in table["neurons"] for virtual in row["virtual_neurons"])
    lifted = any(lift for row in table["neurons"] for virtual in row["virtual_neurons"] for lift in virtual["lift"])
    if named:
        shown.add_column("classes", overflow="fold")
    for row in table["neurons"][:rows]:
        virtual = row["virtual_neurons"]
        cells = [
            f"{row['neuron']} {row['name']}".rstrip(),
            " + ".join(str(v["size"]) for v in virtual) or "never fires",
            _number(row["silhouette"]),
            _number(row["distance"]),
            *([_number(row["polysemanticity"]), _number(row["p"]), row["refused_by"] or ""] if chosen else []),
            *([str(row["tied"] or "")] if tied else []),
        ]
        if named:
            cells.append(" | ".join(_classes(v) for v in virtual))
        shown.add_row(*map(escaped, cells))
    session.output.print(shown)
    if tied:
        session.output.print("Tied: references whose score another has too; their order says nothing.", soft_wrap=True)
    if chosen:
        threshold = next(row["threshold"] for row in table["neurons"])
        session.output.print(
            f"One by: what refused to split, p > 0.05, polysemanticity up to the threshold {threshold:.3f}, or the gap "
            "statistic.",
            soft_wrap=True,
        )
    if named and lifted:
        session.output.print("×: how many times more frequent than in the whole data set.", soft_wrap=True)
    left = len(table["neurons"]) - rows
    if left > 0:
        session.output.print(f"… and {left} more: --json shows all, cluster.h5 holds them.", soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _classes(virtual: dict[str, Any]) -> str:
    """The classes that occur more than once."""
    classes = zip(virtual["classes"], virtual["lift"], strict=True)
    return ", ".join(f"{name} ({count}{_times(lift)})" for (name, count), lift in classes if count > 1)


def _times(lift: float | None) -> str:
    return "" if lift is None else f", {lift:.{0 if lift >= 10 else 1}f}×"


COMMAND = Command(cluster, order=40, panel=STAGES)
