"""What the atlas as a whole says: the network, the images, its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pure_cli import __version__
from pure_cli.artifacts import Collected
from pure_cli.models.spec import parse_model
from pure_cli.stages.atlas_content.inputs import LayerInputs
from pure_cli.stages.atlas_content.layer import LayerContent
from pure_cli.words import counted

BIBTEX = """@inproceedings{dreyer2024pure,
  title     = {{PURE}: Turning Polysemantic Neurons Into Pure Features by Identifying Relevant Circuits},
  author    = {Dreyer, Maximilian and Purelku, Erblina and Vielhaben, Johanna and Samek, Wojciech and Lapuschkin, Sebastian},
  booktitle = {CVPR Workshops},
  year      = {2024},
  note      = {arXiv:2404.06453}
}"""  # noqa: E501


def site(
    collected: Collected, layers: Sequence[Mapping[str, Any]], audits: Sequence[Mapping[str, Any]], start: str
) -> dict[str, Any]:
    """JSON-like, as the page takes it.

    Parameters
    ----------
    layers, audits : what it says of each
    start : where it opens
    """
    origin, model = collected.origin, parse_model(collected.origin["model"]).short
    data = PurePath(str(origin["data"])).name or str(origin["data"])
    return {
        "format": 1,
        "model": model,
        "data": data,
        "images": int(origin["images"]),
        "classes": list(collected.label_names),
        "pure": __version__,
        "layers": list(layers),
        "audits": list(audits),
        "about": _about(collected, model),
        "notes": _notes(collected),
        "bibtex": BIBTEX,
        "start": start,
    }


def layer_entry(inputs: LayerInputs, content: LayerContent, slug: str) -> dict[str, Any]:
    """What the site says of a layer.

    Parameters
    ----------
    slug : its folder; "" where all is in the page
    """
    return {
        "name": inputs.layer,
        "slug": slug,
        "neurons": len(content.neurons),
        "virtual": len(content.units),
        "labelled": sum(bool(label) for label in content.labels),
        "collected": inputs.sources.collected.layers[inputs.layer].neurons,
    }


def _about(collected: Collected, model: str) -> list[list[str]]:
    origin = collected.origin
    processing = ", ".join(f"{name} {value}" for name, value in origin["preprocessing"].items())
    weights = str(origin.get("weights") or "pretrained")
    return [
        ["Network", model],
        ["Weights", f"{PurePath(weights).name} (state {origin.get('state', '')})"],
        ["Images", f"{counted(int(origin['images']), 'image')} of {PurePath(str(origin['data'])).name}"],
        ["Preprocessing", processing],
        ["Made with", f"pure {__version__}"],
    ]


def _notes(collected: Collected) -> list[str]:
    if not collected.damaged:
        return []
    return [f"{counted(len(collected.damaged), 'image')} could not be read and had no part in it."]
