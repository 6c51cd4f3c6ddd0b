"""pure export"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import WHOLE, Command
from pure_cli.commands.common import Session, escaped, print_json, reports_errors
from pure_cli.errors import PureError
from pure_cli.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "virtual-neurons.csv"


@reports_errors
def export(
    neurons: opt.Neurons = None,
    layer: opt.Layers = None,
    features: Annotated[
        list[str] | None,
        typer.Option("--features", help="Whose clusters; repeat for several. [default: all that are there]"),
    ] = None,
    k: Annotated[
        str | None,
        typer.Option("--k", metavar="LIST", help="Of which k, as in 2 or 2,3,auto. [default: all that are there]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help=f"A .csv or .parquet file. [default: {DEFAULT} there]"),
    ] = None,
    workspace: opt.WorkspaceDir = None,
    config: opt.ConfigFile = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    debug: opt.Debug = False,
) -> None:
    """Write the images of each virtual neuron as a table: CSV or Parquet.

    A row is a reference of a neuron: address (layer4/201.2), image, score, share of the virtual neuron, class.

    Example: pure export --k 2 -o meanings.csv
    """
    session = Session(locals())
    given = session.own_options("export")
    file = Path(given.pop("out") or session.workspace.path / DEFAULT)
    if file.suffix.lower() not in (".csv", ".parquet"):
        raise PureError(f"--out has to end in .csv or .parquet, and is {file}.")
    given["k"] = str(given["k"]).replace(" ", "").split(",") if given["k"] else None
    for name in ("layer", "features"):
        given[name] = [given[name]] if isinstance(given[name], str) else given[name]
    columns = session.workspace.members(**given)
    _write(file, columns)
    rows = len(columns["address"])
    session.say(f"[green]✓[/] export: {counted(rows, 'row')} in {escaped(str(file))}")
    if session.json:
        print_json({"file": str(file), "rows": rows, "columns": list(columns)})


def _write(file: Path, columns: "Mapping[str, list[Any]]") -> None:
    import csv
    import io

    from pure_cli.files import disk_errors, write_whole

    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() == ".csv":
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        write_whole(file, text.getvalue())
        return
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise PureError("Parquet needs pyarrow: pip install 'pure-cli[parquet]', or write .csv.") from None
    columns = {**columns, "k": list(map(str, columns["k"]))}  # a number, or auto
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), buffer)
    write_whole(file, buffer.getvalue())


COMMAND = Command(export, order=85, panel=WHOLE)
