"""What a model's name means, and what identifies it and its weights, without building it (no torch here)."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pure_cli.config import presets, read_config
from pure_cli.errors import PureError, unknown
from pure_cli.hub.names import MARK, parse_repo

LIBRARIES = ("torchvision", "timm")
HUB = MARK.rstrip(":")  # the kind of models of transformers, from the Hugging Face hub or from a folder
FOLDER_MARKS = (".", "/", "~")  # how the name of a folder begins, where a repo could be meant
GIVEN = "@"  # in the name of a model, before the hash of one that was handed over in Python and before a revision
NO_WEIGHTS = "none"  # --weights none: a seeded initialisation
PART = "#"  # between a weights file and the key of the weights in it
BLOCK = 1 << 22  # bytes read at once when a file is hashed


@dataclass(frozen=True)
class ModelSpec:
    """A model by name.

    Attributes
    ----------
    kind : "torchvision", "timm", "hf", "pure" (shipped with the package), "python" (see `models.handed_over`) or "file"
    name : the model's name there; the function for a file; of "hf" the repo with its revision, or an absolute folder
    file : the Python file, for kind "file"
    """

    kind: str
    name: str
    file: Path | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.name}" if self.kind == "file" else f"{self.kind}:{self.name}"

    @property
    def short(self) -> str:
        """The name as a title shows it."""
        if self.folder:
            return self.folder.name
        return f"{self.file.name}:{self.name}" if self.file else self.name.partition(GIVEN)[0]

    @property
    def folder(self) -> Path | None:
        """Of a model of transformers that lies in a folder."""
        return Path(self.name) if self.kind == HUB and self.name.startswith("/") else None


def parse_model(text: str) -> ModelSpec:
    """The model that a name means: ``torchvision:NAME``, ``timm:NAME``, ``hf:NAME``, ``hf:./FOLDER`` or
    ``FILE.py:FUNCTION`` (presets are taken apart before, by `config.with_preset`).

    Raises
    ------
    PureError
        The name has none of these forms, or the file is not there.
    """
    kind, _, rest = text.partition(":")
    if kind in LIBRARIES and rest:
        return ModelSpec(kind, rest)
    if (kind == "pure" and rest == "digits") or (kind == "python" and GIVEN in rest):
        return ModelSpec(kind, rest)
    if text.startswith(MARK):
        return _of_hub(rest)
    path, _, function = text.rpartition(":")
    if path.endswith(".py"):
        file = Path(path).expanduser().resolve()
        if not file.is_file():
            raise PureError(f"The model file {path} does not exist.")
        if not function.isidentifier():
            raise PureError(f"'{function}' cannot be a function. Give the model as FILE.py:FUNCTION.")
        return ModelSpec("file", function, file)
    if text.endswith(".py"):
        raise PureError(f"Name the function that makes the model too: {text}:FUNCTION.")
    forms = "A model is a preset, torchvision:NAME, timm:NAME, hf:NAME or FILE.py:FUNCTION."
    raise unknown("model or preset", text, presets(), forms)


def _of_hub(name: str) -> ModelSpec:
    if name.startswith(FOLDER_MARKS):
        folder = Path(name).expanduser().resolve()
        if not folder.is_dir():
            raise PureError(f"There is no folder {folder}. Pass what save_pretrained wrote as {MARK}./FOLDER.")
        return ModelSpec(HUB, str(folder))
    repo = parse_repo(name)
    return ModelSpec(HUB, repo.text.removeprefix(MARK))


def short_names(text: str) -> set[str]:
    """What a model is called in an address such as ``resnet50/layer4/201``.

    Parameters
    ----------
    text : its name in full, as a workspace has it
    """
    called = {name for name, file in presets().items() if read_config(file).get("model") == text}
    name = text.rpartition(":")[2].partition(GIVEN)[0]
    return {text, name, *called, *([name.rpartition("/")[2]] if text.startswith(MARK) else [])}


def source_fingerprint(spec: ModelSpec) -> str:
    """What identifies the architecture: its name, for a file the text of it, for a repo what describes the network."""
    if spec.kind == HUB:
        from pure_cli.models.repos import described_fingerprint

        return described_fingerprint(spec)
    if spec.file is None:
        return str(spec)
    if not spec.file.is_file():
        raise PureError(f"The model file {spec.file} is no longer there. Run `pure collect` with its new place.")
    return f"{spec.name} in {file_fingerprint(spec.file)}"


def weights_fingerprint(weights: Path | str | None, spec: ModelSpec | None = None) -> str:
    """What identifies the weights: the bytes of the file or of those in the model's repo, "pretrained" or "none"."""
    if weights is None:
        if spec is not None and spec.kind == HUB:
            from pure_cli.models.repos import repo_weights_fingerprint

            return repo_weights_fingerprint(spec)
        return "pretrained"
    if str(weights) == NO_WEIGHTS:
        return NO_WEIGHTS
    from pure_cli.models.repos import here

    path, part = weights_place(here(weights))
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise PureError(f"The weights file {path} {reason}. Give a .safetensors file or a torch checkpoint.")
    return file_fingerprint(path) + (f"{PART}{part}" if part else "")


def weights_place(weights: Path | str) -> tuple[Path, str]:
    """The file of ``FILE#KEY``, and the key of the weights in it; "" where none is named."""
    path = Path(weights)
    file, mark, part = str(weights).rpartition(PART)
    return (Path(file), part) if mark and file and not path.exists() else (path, "")


def file_fingerprint(path: Path) -> str:
    """Hash of a file's bytes."""
    digest = sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise PureError(f"{path} cannot be read: {error.strerror}.") from None
    return digest.hexdigest()[:32]
