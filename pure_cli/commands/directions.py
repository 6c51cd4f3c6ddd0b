"""pure directions"""

import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import BEYOND, Command
from pure_cli.commands.common import DEFAULT_WORKSPACE, Session, escaped, reports_errors


class How(str, Enum):
    pca = "pca"
    nmf = "nmf"


@reports_errors
def directions(
    how: Annotated[
        How | None,
        typer.Argument(
            metavar="pca|nmf",
            show_default=False,
            help="Principal components, of all positions of all images; or non-negative ones, of a sample of them.",
        ),
    ] = None,
    m: Annotated[
        int | None,
        typer.Option("-m", "--components", metavar="M", help="Directions to find. [default: 64, or one a channel]"),
    ] = None,
    layer: opt.Layers = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Use N images only, spread evenly over the data.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="S", help="For nmf: positions drawn from each image. [default: 8]"),
    ] = None,
    seed: opt.Seed = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="[default: directions/LAYER/HOW-M.safetensors in the workspace]"),
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
    """Find directions in a layer's own activations, for pure collect --directions.

    Takes model, images and layers of the workspace, and writes a file of directions for each layer.

    Example: pure directions pca -m 64 --layer layer4
    """

    session = Session(locals())
    with session.progress("directions", "images") as progress:
        outcome = session.workspace.directions(progress=progress, **session.options("directions"))
    found, relu = outcome.details, outcome.details["relu"]
    of = "sum of squares" if relu else "variance"
    parts = [f"{found['components'][name]} components of {name} with {found['explained'][name] * 100:.1f} % of the {of}"
             for name in outcome.layers]  # fmt: skip
    session.report(outcome, f"{', '.join(parts)}, from {found['images']:,} images")
    for name, file in found["files"].items():
        words = ["pure", "collect", "-w", str(session.workspace.path), "--layer", name, "--directions", file]
        if str(session.workspace.path) == DEFAULT_WORKSPACE:
            words[2:4] = []
        session.say(f"  next: {escaped(shlex.join([*words, *(['--directions-relu'] if relu else [])]))}")


COMMAND = Command(directions, order=100, panel=BEYOND)
