"""CLIP networks that a file describes: made known to open_clip, so that they are built and filled as its own are."""

import json
import tempfile
from pathlib import Path
from typing import Any

from pure_cli.embedders.spec import EmbedderSpec
from pure_cli.errors import PureError
from pure_cli.models.spec import file_fingerprint
from pure_cli.quick_imports import compiler_later

with compiler_later():
    import open_clip

NEEDED = ("embed_dim", "vision_cfg", "text_cfg")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")  # of transformers, in a folder from the hub
DIGEST = 8  # characters of a file's hash in the name that open_clip gets


def name_of(spec: EmbedderSpec) -> str:
    """What open_clip knows the network by; it is told of one that a file describes.

    Raises
    ------
    PureError
        The file describes none.
    """
    if spec.config is None:
        return spec.architecture
    name = f"{spec.config.stem}-{file_fingerprint(spec.config)[:DIGEST]}"
    if name not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:  # open_clip reads it at once, and names it by the file
            file = Path(folder, f"{name}.json")
            file.write_text(json.dumps(_architecture(spec.config)), encoding="utf-8")
            open_clip.add_model_config(file)
    return name


def preprocessing(config: Path) -> dict[str, Any]:
    """What a file says of how images are prepared; empty where it says nothing."""
    return _content(config).get("preprocess_cfg") or {}


def _architecture(config: Path) -> dict[str, Any]:
    """The architecture, with the files that its tokenizer needs looked for beside the description."""
    content = _content(config)
    found = content.get("model_cfg", content)
    text = found["text_cfg"]
    options = text.get("tokenizer_kwargs") or {}
    if "bpe_path" in options:
        text["tokenizer_kwargs"] = {**options, "bpe_path": str(config.parent / options["bpe_path"])}
    if text.get("hf_tokenizer_name") and any((config.parent / name).is_file() for name in TOKENIZER_FILES):
        text["hf_tokenizer_name"] = str(config.parent)
    return found


def _content(config: Path) -> dict[str, Any]:
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PureError(f"The configuration {config} cannot be read as JSON ({error}).") from None
    described = content.get("model_cfg", content) if isinstance(content, dict) else None
    if not isinstance(described, dict) or not all(key in described for key in NEEDED):
        raise PureError(
            f"{config} describes no CLIP network. It needs {', '.join(NEEDED)}, as open_clip's model_configs and an "
            "open_clip_config.json from the Hugging Face hub have them."
        )
    return content
