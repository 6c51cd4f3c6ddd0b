"""What an embedder's name means, and what identifies it and its weights, without building it (no torch here)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pure_cli.embedders.kind import LAYER, SIZE, WEIGHTS, EmbedderKind
from pure_cli.errors import PureError, unknown
from pure_cli.models.spec import ModelSpec, file_fingerprint, parse_model, source_fingerprint, weights_fingerprint
from pure_cli.registry import EMBEDDERS

FILE = "file"  # the kind that is told by a name with .py in it


@dataclass(frozen=True)
class EmbedderSpec:
    """An embedder by name.

    Attributes
    ----------
    kind : of `pure_cli.embedders.kinds`
    name : of the network, in the words of its kind: open_clip's ``ARCH/TAG`` or ``ARCH``; the name in timm or
        torchvision; the function in a file
    file : the Python file, where it is from one
    layer : the module whose output, pooled over space, is the embedding; None for the embedder's own output
    size : side of its input in pixels; None for the embedder's own
    weights : a checkpoint, "none" for a seeded initialisation, or None for the pretrained weights of the name
    config : the file that describes a CLIP network, where it is from one
    """

    kind: str
    name: str = ""
    file: Path | None = None
    layer: str | None = None
    size: int | None = None
    weights: Path | str | None = None
    config: Path | None = None

    def __str__(self) -> str:
        """The name as the user gives it."""
        if self.file:
            return str(self.model)
        return self.kind if self.name == EMBEDDERS[self.kind].alone else f"{self.kind}:{self.name}"

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
        """The network, as `pure_cli.models` names it (for those that it knows)."""
        return ModelSpec(EMBEDDERS[self.kind].library or self.kind, self.name, self.file)

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
            "source": self._source(),
            "layer": self.layer,
            "size": self.size,
            "weights": weights_fingerprint(self.weights) if WEIGHTS in EMBEDDERS[self.kind].takes else None,
        }

    def _source(self) -> str | None:
        if self.config:
            return file_fingerprint(self.config)
        return source_fingerprint(self.model) if self.file else None


class NamedFile(NamedTuple):
    """A name that has a file in it, in three parts; "" each where it has none."""

    before: str
    file: str
    behind: str


def named_file(text: str) -> NamedFile:
    """The file in ``FILE.py:FUNCTION`` and ``clip:FILE.json``, with what stands before and behind it."""
    kind, _, rest = text.partition(":")
    if rest.endswith(".json") and kind in EMBEDDERS:
        return NamedFile(f"{kind}:", rest, "")
    file, dot_py, function = text.partition(".py:")
    return NamedFile("", f"{file}.py", f":{function}") if dot_py else NamedFile("", "", "")


def with_whole_path(text: str) -> str:
    """The same name, with the whole path of its file where it has one."""
    before, file, behind = named_file(text)
    return f"{before}{Path(file).expanduser().absolute()}{behind}" if file else text


def parse_embedder(
    text: str, layer: str | None = None, weights: Path | str | None = None, size: int | None = None
) -> EmbedderSpec:
    """The embedder that a name means.

    Parameters
    ----------
    text : of a form of one of the kinds: ``clip``, ``clip:ARCH/TAG``, ``clip:ARCH``, the same with ``clip-image``,
        ``dinov2``, ``dinov2:NAME`` (a timm vision transformer, read as DINOv2 is), ``timm:NAME``, ``torchvision:NAME``,
        ``FILE.py:FUNCTION`` (these three also with ``:LAYER`` behind), ``pixels``, …; ``clip:FILE.json`` for a CLIP
        network that the file describes
    layer : the module to read, of those kinds that take one
    weights : a checkpoint, or "none" for a seeded initialisation
    size : side of the embedder's input in pixels

    Raises
    ------
    PureError
        No such embedder, a file that is not there, or an option that this embedder does not take.
    """
    kind = kind_of_name(text)
    if kind is None:
        raise unknown("embedder", text, forms())
    name, own_layer = _split_layer(text) if LAYER in EMBEDDERS[kind].takes else (text, None)
    layer = layer or own_layer
    if kind == FILE:
        model = parse_model(name)
        spec = EmbedderSpec(kind, model.name, model.file, layer, size, weights)
    else:
        network = name.partition(":")[2] or EMBEDDERS[kind].alone or ""
        spec = EMBEDDERS[kind].checked(EmbedderSpec(kind, network, None, layer, size, weights))
    _check_options(spec, EMBEDDERS[kind])
    return spec


def kind_of_name(text: str) -> str | None:
    """The kind of embedders that a name is one of; None where there is none such."""
    if ".py" in text and not named_file(text).before:
        return FILE
    kind, colon, network = text.partition(":")
    if kind not in EMBEDDERS:
        return None
    fits = EMBEDDERS[kind].named and network if colon else EMBEDDERS[kind].alone is not None
    return kind if fits else None


def forms() -> list[str]:
    """The forms that names of embedders have."""
    found: list[str] = []
    for name in EMBEDDERS:
        try:
            found += EMBEDDERS[name].forms
        except PureError:  # of a package that cannot be loaded: told where it is used
            found.append(name)
    return found


def _split_layer(text: str) -> tuple[str, str | None]:
    """The name of a network, and of the layer behind it as in ``timm:NAME:LAYER``."""
    file, dot_py, rest = text.partition(".py:")
    head, tail = (f"{file}.py:", rest) if dot_py else (text.partition(":")[0] + ":", text.partition(":")[2])
    name, _, layer = tail.partition(":")
    return (head + name, layer or None) if tail else (text, None)


def _check_options(spec: EmbedderSpec, kind: EmbedderKind) -> None:
    if spec.layer and LAYER not in kind.takes:
        raise PureError(f"The embedder {spec} takes no layer; leave --embedder-layer out.")
    if spec.weights is not None and WEIGHTS not in kind.takes:
        raise PureError(f"The embedder {spec} has no weights; leave --embedder-weights out.")
    if spec.size is not None and SIZE not in kind.takes:
        raise PureError(f"The embedder {spec} takes no size; leave --embedder-size out.")
    if spec.size is not None and spec.size < 1:
        raise PureError(f"--embedder-size is a number of pixels, 1 or more, and not {spec.size}.")
