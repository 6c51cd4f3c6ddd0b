"""What an embedder's name means, and what identifies it and its weights, without building it (no torch here)."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pure_cli.errors import PureError, unknown
from pure_cli.models.spec import ModelSpec, parse_model, source_fingerprint, weights_fingerprint

CLIP = "ViT-B-32/openai"  # the paper's judge
DINOV2 = "vit_base_patch14_dinov2"  # the paper's second one; timm's tag lvd142m
DINOV2_SIZE = 224  # pixels, as in the paper
PIXELS_SIZE = 16

CLIP_KINDS = ("clip", "clip-image")
WITH_LAYER = ("timm", "torchvision", "file")
FORMS = ("clip", "clip-image", "dinov2", "pixels", "clip:ARCH/TAG", "timm:NAME", "torchvision:NAME", "FILE.py:FUNCTION")


@dataclass(frozen=True)
class EmbedderSpec:
    """An embedder by name.

    Attributes
    ----------
    kind : "clip" (tokens), "clip-image" (projected vector), "dinov2", "timm", "torchvision", "file" or "pixels"
    name : open_clip's ``ARCH/TAG`` or ``ARCH``; the name in timm or torchvision; the function in a file
    file : the Python file, for kind "file"
    layer : the module whose output, pooled over space, is the embedding; None for the embedder's own output
    size : side of its input in pixels; None for the embedder's own
    weights : a checkpoint, "none" for a seeded initialisation, or None for the pretrained weights of the name
    """

    kind: str
    name: str = ""
    file: Path | None = None
    layer: str | None = None
    size: int | None = None
    weights: Path | str | None = None

    def __str__(self) -> str:
        """The name as the user gives it."""
        if self.kind in CLIP_KINDS:
            return self.kind if self.name == CLIP else f"{self.kind}:{self.name}"
        if self.kind == "dinov2":
            return self.kind if self.name == DINOV2 else f"{self.kind}:{self.name}"
        return self.kind if self.kind == "pixels" else str(self.model)

    @property
    def label(self) -> str:
        """The name under which it stands in files and tables: one for each name, layer and size, with neither "/" nor
        "@". Another checkpoint under the same name has the same label and another `identity`."""
        parts = [self.model.short if self.file else str(self)]
        parts += [self.layer] if self.layer else []
        parts += [f"{self.size}px"] if self.size else []
        return ":".join(parts).replace("/", ":").replace("@", "-")

    @property
    def architecture(self) -> str:
        """open_clip's name of the architecture."""
        return self.name.partition("/")[0]

    @property
    def tag(self) -> str:
        """open_clip's name of the pretrained weights; "" where the architecture's own choice is meant."""
        return self.name.partition("/")[2]

    @property
    def model(self) -> ModelSpec:
        """The network, as `pure_cli.models` names it (for timm, torchvision and files)."""
        return ModelSpec("timm" if self.kind == "dinov2" else self.kind, self.name, self.file)

    def identity(self) -> dict[str, Any]:
        """What decides the vectors: two embedders with equal identities give the same ones. JSON-like.

        An embedder from a file, or a torchvision network that is silent about its input, also depends on the size of
        the images that the main model sees, if `size` is None.

        Raises
        ------
        PureError
            A file is not there.
        """
        return {
            "kind": self.kind,
            "name": self.name,
            "source": source_fingerprint(self.model) if self.file else None,
            "layer": self.layer,
            "size": self.size,
            "weights": None if self.kind == "pixels" else weights_fingerprint(self.weights),
        }


def parse_embedder(
    text: str, layer: str | None = None, weights: Path | str | None = None, size: int | None = None
) -> EmbedderSpec:
    """The embedder that a name means.

    Parameters
    ----------
    text : ``clip``, ``clip:ARCH/TAG``, ``clip:ARCH``, the same with ``clip-image``, ``dinov2``, ``dinov2:NAME`` (a timm
        vision transformer, read as DINOv2 is), ``timm:NAME``, ``torchvision:NAME``, ``FILE.py:FUNCTION`` (these
        three also with ``:LAYER`` behind) or ``pixels``
    layer : of timm and torchvision networks and files: the module to read
    weights : a checkpoint, or "none" for a seeded initialisation
    size : side of the embedder's input in pixels

    Raises
    ------
    PureError
        No such embedder, a file that is not there, or an option that this embedder does not take.
    """
    kind, colon, rest = text.partition(":")
    if ".py" in text or (kind in ("timm", "torchvision") and rest):
        text, own_layer = _split_layer(text)
        layer = layer or own_layer
        model = parse_model(text)
        spec = EmbedderSpec(model.kind, model.name, model.file, layer, size, weights)
    elif kind in CLIP_KINDS and (rest or not colon):
        spec = EmbedderSpec(kind, rest or CLIP, None, layer, size, weights)
        known = _architectures()
        if spec.architecture not in known:
            raise unknown("open_clip architecture", spec.architecture, known)
    elif kind == "dinov2" and (rest or not colon):
        spec = EmbedderSpec(kind, rest or DINOV2, None, layer, None if size == DINOV2_SIZE else size, weights)
    elif text == "pixels":
        spec = EmbedderSpec("pixels", "", None, layer, size, weights)
    else:
        raise unknown("embedder", text, FORMS)
    _check_options(spec)
    return spec


def _split_layer(text: str) -> tuple[str, str | None]:
    """The name of a network, and of the layer behind it as in ``timm:NAME:LAYER``."""
    file, dot_py, rest = text.partition(".py:")
    head, tail = (f"{file}.py:", rest) if dot_py else (text.partition(":")[0] + ":", text.partition(":")[2])
    name, _, layer = tail.partition(":")
    return (head + name, layer or None) if tail else (text, None)


def _check_options(spec: EmbedderSpec) -> None:
    if spec.layer and spec.kind not in WITH_LAYER:
        hint = f" For one of its layers, use timm:{spec.name}." if spec.kind == "dinov2" else ""
        raise PureError(f"The embedder {spec} takes no layer; leave --embedder-layer out.{hint}")
    if spec.kind == "pixels" and spec.weights is not None:
        raise PureError("The embedder pixels has no weights; leave --embedder-weights out.")
    if spec.kind == "pixels" and spec.size is not None:
        raise PureError(f"The embedder pixels always sees {PIXELS_SIZE}×{PIXELS_SIZE}; leave --embedder-size out.")
    if spec.size is not None and spec.size < 1:
        raise PureError(f"--embedder-size is a number of pixels, 1 or more, and not {spec.size}.")


def _architectures() -> list[str]:
    """open_clip's architectures: those it has registered, or the descriptions that come with it where it has not been
    imported (which would take seconds)."""
    if loaded := sys.modules.get("open_clip"):
        return loaded.list_models()
    package = find_spec("open_clip")
    folders = package.submodule_search_locations if package else None
    return sorted(path.stem for folder in folders or () for path in Path(folder, "model_configs").glob("*.json"))
