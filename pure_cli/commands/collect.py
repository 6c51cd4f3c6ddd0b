"""pure collect"""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from pure_cli.commands import options as opt
from pure_cli.commands.command import STAGES, Command
from pure_cli.commands.common import Session, print_json, reports_errors
from pure_cli.registry import SOURCES

PREPROCESSING = "Preprocessing (default: what the model was trained with)"
NEURONS = "Other neurons than the channels of a layer"
RANKING = "Which images come first (default: those with the highest activation)"


class Part(str, Enum):
    decoder = "decoder"
    encoder = "encoder"


@reports_errors
def collect(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="M", help="A preset (resnet50, …), torchvision:NAME, timm:NAME or FILE.py:FUNCTION."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Folder of images, with or without class folders; .txt/.csv list of paths; tar shards, Parquet, .npz "
            f"and others, see docs/data.md ({', '.join(SOURCES)}); #SPLIT behind it names a split. [env PURE_DATA]",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="A .safetensors file or torch checkpoint, #KEY behind it names weights in it; none: a seeded "
            "initialisation. [default: the model's own]",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="LAYER",
            help="Where the neurons are; repeat for several. [default: the preset's, or the last stage]",
        ),
    ] = None,
    directions: Annotated[
        Path | None,
        typer.Option(
            "--directions",
            metavar="FILE",
            rich_help_panel=NEURONS,
            help="Directions over the channels of the layer as neurons: .npy, .npz, .csv, .safetensors or a torch "
            "checkpoint; a row each, probes, or a sparse autoencoder's decoder.",
        ),
    ] = None,
    directions_relu: Annotated[
        bool | None,
        typer.Option(
            "--directions-relu", rich_help_panel=NEURONS, help="Negative activations of the directions count as zero."
        ),
    ] = None,
    directions_part: Annotated[
        Part | None,
        typer.Option(
            "--directions-part",
            metavar="PART",
            rich_help_panel=NEURONS,
            help="Of a sparse autoencoder: decoder, what it adds up, or encoder, what its latents read. "
            "[default: decoder]",
        ),
    ] = None,
    channels_axis: Annotated[
        list[str] | None,
        typer.Option(
            "--channels-axis",
            metavar="AXIS",
            rich_help_panel=NEURONS,
            help="Which axis of its output has a layer's channels, first or last behind the images: of the layers of "
            "--layer, or LAYER=AXIS of any; repeat for several. [default: what the layers in it work along]",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", "--references", metavar="N", help="Reference images for each neuron. [default: 100]"),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="SCORE",
            rich_help_panel=RANKING,
            help="Rank images by the neuron's activation, or by its relevance for the model's output (RelMax). "
            "[default: activation]",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool",
            metavar="POOL",
            rich_help_panel=RANKING,
            help="Score over space: max, mean or sum. [default: max; of relevance: sum]",
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            metavar="RULE",
            rich_help_panel=RANKING,
            help="Of --by relevance, as of `pure attribute`. [default: epsilon-plus-flat; attn-lrp where there is "
            "attention]",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="CLASS",
            rich_help_panel=RANKING,
            help="Of --by relevance: the output of the image's label, or the predicted one. [default: label, where "
            "labels number the model's outputs]",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Use N images only, spread evenly over the data.")
    ] = None,
    list_layers: Annotated[
        bool, typer.Option("--list-layers", help="Show the model's layers with their shapes, and stop.")
    ] = False,
    resize: Annotated[
        int | None,
        typer.Option("--resize", metavar="PX", rich_help_panel=PREPROCESSING, help="Length of the short side."),
    ] = None,
    crop_size: Annotated[
        int | None,
        typer.Option("--crop-size", metavar="PX", rich_help_panel=PREPROCESSING, help="Side of the centre crop."),
    ] = None,
    interpolation: Annotated[
        str | None, typer.Option("--interpolation", rich_help_panel=PREPROCESSING, help="nearest, bilinear or bicubic.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option("--mean", metavar="R,G,B", rich_help_panel=PREPROCESSING, help="On the scale 0 to 1.")
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", metavar="R,G,B", rich_help_panel=PREPROCESSING, help="On the scale 0 to 1.")
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option("--strict", rich_help_panel=opt.RUNNING, help="Stop at the first image that cannot be read."),
    ] = None,
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
    """Find every neuron's reference images: those that excite it most.

    One pass over the images, for several layers at once; a killed pass goes on where it was.

    Example: pure collect --model resnet50 --data imagenet/val
    """
    session = Session(locals())
    if list_layers:
        _show_layers(session)
        return
    with session.progress("collect", "images") as progress:
        outcome = session.workspace.collect(progress, **session.options("collect"))
    what = f"{outcome.details.get('images', 0):,} images for the neurons of {', '.join(outcome.layers)}"
    session.report(outcome, what)


def _show_layers(session: Session) -> None:
    with session.progress("layers", "layers"):
        found = session.workspace.list_layers(**session.options("collect"))
    if session.json:
        print_json(found)
        return
    notes = {found["default"]: "default layer", found["default_lower"]: "default lower layer"}
    rows = []
    for layer in found["layers"]:
        note = notes.get(layer["name"], "")
        if layer["calls"] > 1:
            note = f"runs {layer['calls']} times: cannot be used"
        shape = " × ".join(map(str, layer["shape"])) if layer["shape"] else "no single tensor"
        rows.append({"layer": layer["name"], "module": layer["kind"], "output": shape, "note": note})
    session.show({"title": "", "columns": ["layer", "module", "output", "note"], "rows": rows, "note": ""})


COMMAND = Command(collect, order=10, panel=STAGES)
