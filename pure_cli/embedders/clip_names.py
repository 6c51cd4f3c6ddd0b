"""Names of CLIP networks, checked without importing open_clip (which would take seconds)."""

import sys
from importlib.util import find_spec
from pathlib import Path

from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import unknown

CLIP = "ViT-B-32/openai"  # the paper's judge


def checked(spec: EmbedderSpec) -> EmbedderSpec:
    known = _architectures()
    if spec.architecture not in known:
        raise unknown("open_clip architecture", spec.architecture, known)
    return spec


def _architectures() -> list[str]:
    """open_clip's architectures: those it has registered, or the descriptions that come with it where it has not been
    imported."""
    if loaded := sys.modules.get("open_clip"):
        return loaded.list_models()
    package = find_spec("open_clip")
    folders = package.submodule_search_locations if package else None
    return sorted(path.stem for folder in folders or () for path in Path(folder, "model_configs").glob("*.json"))
