"""Names of CLIP networks, checked without importing open_clip (which would take seconds)."""

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError, unknown

CLIP = "ViT-B-32/openai"  # the paper's judge
JSON = ".json"  # how an architecture of one's own ends: open_clip's description of it
SHIPPED = {"demo-digits": Path(__file__).parents[1] / "demo" / "demo-digits.json"}  # with weights beside it
NO_JUDGES = {"demo-digits": "was trained on 1,297 handwritten digits and knows nothing else: it is no judge"}
BESIDE = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # weights in a folder from the Hugging Face hub


def checked(spec: EmbedderSpec) -> EmbedderSpec:
    """The network as it is meant; one of a configuration file has the weights beside that where it is given none."""
    config = SHIPPED.get(spec.name) or (Path(spec.name).expanduser().resolve() if spec.name.endswith(JSON) else None)
    if config is None:
        known = [*_architectures(), *SHIPPED]
        if spec.architecture not in known:
            raise unknown("open_clip architecture", spec.architecture, known)
        return spec
    if not config.is_file():
        raise PureError(
            f"The configuration {spec.name} does not exist. Give a JSON file as open_clip describes networks."
        )
    places = (config.with_suffix(".safetensors"), *(config.with_name(name) for name in BESIDE))
    weights = spec.weights or next((place for place in places if place.is_file()), None)
    name = spec.name if spec.name in SHIPPED else config.name
    return replace(spec, name=name, config=config, weights=weights)


def _architectures() -> list[str]:
    """open_clip's architectures: those it has registered, or the descriptions that come with it where it has not been
    imported."""
    if loaded := sys.modules.get("open_clip"):
        return loaded.list_models()
    package = find_spec("open_clip")
    folders = package.submodule_search_locations if package else None
    return sorted(path.stem for folder in folders or () for path in Path(folder, "model_configs").glob("*.json"))
