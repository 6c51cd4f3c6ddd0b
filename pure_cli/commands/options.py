"""The options that several commands share, with their help. Light: typer, and names that files have."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from pure_cli.registry import TRANSFORMS

RUNNING = "How to run"
HABITS = "Everywhere"


class Device(str, Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


WorkspaceDir = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        rich_help_panel=HABITS,
        help="Folder of the results. [env PURE_WORKSPACE; default: ./pure-workspace]",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        rich_help_panel=HABITS,
        help="YAML file of options; what is on the command line wins.",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel=HABITS, help="One JSON object on standard output, all else on standard error."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=HABITS, help="Errors and warnings only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", rich_help_panel=HABITS, help="Say more about what was done.")]
Debug = Annotated[bool, typer.Option("--debug", rich_help_panel=HABITS, help="Show the traceback of an error.")]
Verify = Annotated[
    bool | None,
    typer.Option(
        "--verify", rich_help_panel=RUNNING, help="Read all images again: does any differ from the collected?"
    ),
]
Force = Annotated[
    bool | None, typer.Option("--force", rich_help_panel=RUNNING, help="Compute anew what is up to date.")
]

DeviceName = Annotated[
    Device | None,
    typer.Option(
        "--device",
        metavar="NAME",
        rich_help_panel=RUNNING,
        help="Where to run the network: auto, cpu, cuda or mps. [default: auto, the fastest there is]",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        metavar="N",
        rich_help_panel=RUNNING,
        help="Images at once. [default: what suits device and image size]",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        rich_help_panel=RUNNING,
        help="Processes that decode images. [default: one a core, 8 at most]",
    ),
]
Deterministic = Annotated[
    bool | None,
    typer.Option(
        "--deterministic/--no-deterministic",
        rich_help_panel=RUNNING,
        help="The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the same. "
        "[default: on]",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", rich_help_panel=RUNNING, help="Of every random choice. [default: 0]"),
]

Layers = Annotated[
    list[str] | None,
    typer.Option("--layer", metavar="LAYER", help="Repeat for several. [default: all that the stage before did]"),
]
Neurons = Annotated[
    str | None,
    typer.Option(
        "--neurons", metavar="LIST", help="As in 201,2,341 or 0-63 or all. [default: all that the stage before did]"
    ),
]
Latex = Annotated[bool | None, typer.Option("--latex", help="Write the tables as LaTeX too.")]
Transform = Annotated[
    str | None,
    typer.Option(
        "--transform",
        metavar="NAME",
        help=f"Of the relevances. {TRANSFORMS.listed()}. [default: l1]",
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="paper: as published; calibrated: lower layers, features and k that `pure calibrate` found best; other "
        "options win. [default: paper]",
    ),
]
