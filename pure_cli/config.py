"""Settings of the stages, the YAML files and presets that they come from. Light: no torch here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pure_cli.core.features import L1, PURE, with_transform
from pure_cli.errors import PureError, unknown
from pure_cli.registry import COMMANDS, RULES, TRANSFORMS, Registry

AUTO = "auto"  # what is chosen by evidence: k for each neuron, lower layers and features by calibrate
COMPILED = "_orig_mod."  # in names of layers, where torch.compile has wrapped a module
K = int | Literal["auto"]
LayerName = Annotated[str, AfterValidator(lambda name: name.replace(COMPILED, ""))]
Recipe = Literal["paper", "calibrated"]
CANONIZERS = 2  # raised when they come to change what LRP's rules find


def _one_of(registry: Registry[Any]) -> Callable[[str], str]:
    """Checks that a name is one of a registry."""

    def check(name: str) -> str:
        if name not in registry:
            *some, last = [repr(known) for known in registry]
            raise ValueError(f"input should be {', '.join(some)} or {last}")
        return name

    return check


RuleName = Annotated[str, AfterValidator(_one_of(RULES))]
TransformName = Annotated[str, AfterValidator(_one_of(TRANSFORMS))]


def fingerprint(value: Any) -> str:
    """Hash of a JSON-like value, independent of the order of its keys."""
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


class Settings(BaseModel):
    """What a stage needs to know."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    force: bool = False
    verify: bool = False


class OnDevice(Settings):
    """Settings of a stage that runs the network."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    batch_size: int | None = Field(None, ge=1)
    deterministic: bool = True


class Running(OnDevice):
    """Settings of a stage that runs the network on many images, which processes decode."""

    workers: int | None = Field(None, ge=0)

    @property
    def running(self) -> dict[str, Any]:
        """How the network is run, for another stage on the way."""
        return {name: getattr(self, name) for name in Running.model_fields if name not in Settings.model_fields}


def _as_list(value: Any) -> Any:
    """A single value stands for a list of one; text is split at commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, list | tuple):
        return [part for item in value for part in (_as_list(item) if isinstance(item, str) else [item])]
    return value


def _as_text(value: Any) -> Any:
    """Neurons given as a number or a list of numbers, in the form of the command line."""
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, int):
        return str(value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _as_colours(value: Any) -> Any:
    """One number for each of red, green and blue."""
    if value is None:
        return None
    try:
        red, green, blue = (float(part) for part in _as_list(value))
    except (TypeError, ValueError):
        raise ValueError("three numbers are needed, for red, green and blue") from None
    return red, green, blue


def _k_as_list(value: Any) -> Any:
    """``2,3`` and ``2-5``, alone or together."""
    found: list[Any] = []
    for part in _as_list(value) or []:
        first, dash, last = str(part).partition("-")
        both = dash and first.isdecimal() and last.isdecimal()
        found += range(int(first), int(last) + 1) if both else [part]
    return found if value is not None else None


def _sorted_k(value: list[Any] | None) -> list[Any] | None:
    """Numbers ascending, then what stands for a number chosen for each neuron."""
    if value is None:
        return None
    numbers = sorted({k for k in value if k != AUTO})
    if not value or (numbers and numbers[0] < 1):
        raise ValueError("every k must be 1 or more")
    return [*numbers, *([AUTO] if AUTO in value else [])]


class OfNeurons(Settings):
    """Settings of a stage that works on some layers and neurons of what was collected."""

    layer: list[LayerName] | None = None
    neurons: str | None = None

    _layer = field_validator("layer", mode="before")(_as_list)
    _neurons = field_validator("neurons", mode="before")(_as_text)


SCORE_OPTIONS = ("by", "pool", "rule", "target")  # how collect ranks images


class CollectSettings(Running):
    model: str
    data: Path
    weights: Path | None = None
    layer: list[LayerName] | None = None
    directions: Path | None = None
    directions_relu: bool = False
    directions_part: Literal["decoder", "encoder"] | None = None
    n: int = Field(100, ge=1)
    by: Literal["activation", "relevance"] = "activation"
    pool: Literal["max", "mean", "sum"] | None = None
    rule: RuleName | None = None
    target: Literal["label", "predicted"] | None = None
    limit: int | None = Field(None, ge=1)
    strict: bool = False
    seed: int = 0
    resize: int | None = Field(None, ge=1)
    crop_size: int | None = Field(None, ge=1)
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channels_axis: list[str] | None = None

    _layer = field_validator("layer", "channels_axis", mode="before")(_as_list)
    _mean_std = field_validator("mean", "std", mode="before")(_as_colours)

    @model_validator(mode="after")
    def _of_relevance(self) -> CollectSettings:
        for name in ("rule", "target"):
            if getattr(self, name) is not None and self.by == "activation":
                raise ValueError(f"--{name} is for --by relevance")
        return self

    @field_validator("channels_axis")
    @classmethod
    def _first_or_last(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and any(part.rpartition("=")[2] not in ("first", "last") for part in value):
            raise ValueError("each must be first or last, or LAYER=first or LAYER=last")
        return value

    @property
    def channels(self) -> dict[str, str]:
        """Layer to the axis of its channels, as the user says; "" for the layers whose neurons are looked at."""
        parts = [part.rpartition("=") for part in self.channels_axis or ()]
        return {layer: axis for layer, _, axis in parts}

    @property
    def pooled(self) -> str:
        """How scores are pooled over space: activation as PURE does, relevance as zennit-crp does."""
        return self.pool or ("max" if self.by == "activation" else "sum")

    @property
    def score(self) -> dict[str, str]:
        """What the scores are, where that is not the usual."""
        if self.by == "activation":
            return {} if self.pooled == "max" else {"pool": self.pooled}
        return {"by": self.by, "pool": self.pooled, "rule": self.rule or AUTO, "target": self.target or AUTO}

    @field_validator("std")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("a standard deviation must be greater than 0")
        return value


class DirectionsSettings(Running):
    how: Literal["pca", "nmf"]
    m: int | None = Field(None, ge=1)
    layer: list[LayerName] | None = None
    limit: int | None = Field(None, ge=1)
    sample: int = Field(8, ge=1)
    seed: int = 0
    out: Path | None = None

    _layer = field_validator("layer", mode="before")(_as_list)


class AttributeSettings(Running, OfNeurons):
    lower_layer: list[LayerName] | None = None
    rule: RuleName = "gradient-x-input"
    precision: Literal["float32", "bfloat16"] = "float32"
    store: Literal["float32", "float16"] = "float32"
    position: Literal["all", "max"] = "all"
    recipe: Recipe = "paper"

    @model_validator(mode="before")
    @classmethod
    def _of_recipe(cls, values: Any) -> Any:
        calibrated = isinstance(values, dict) and values.get("recipe") == "calibrated"
        return {"lower_layer": [AUTO], **values} if calibrated else values

    _lists = field_validator("lower_layer", mode="before")(_as_list)

    @property
    def how(self) -> dict[str, str]:
        """What the relevances depend on beside layer and inputs; what is usual is left out, but for the rule."""
        fields = ("precision", "store", "position")
        usual = {name: type(self).model_fields[name].default for name in fields}
        return {
            "rule": self.rule,
            **({"canonizers": str(CANONIZERS)} if RULES[self.rule].canonized else {}),
            **{name: getattr(self, name) for name in fields if getattr(self, name) != usual[name]},
        }


class OfFeatures(Settings):
    """Settings of a stage that works with kinds of features.

    The transform is said in the names of the features: what follows knows nothing else.
    """

    features: list[str] = [PURE]
    transform: TransformName = L1
    recipe: Recipe = "paper"

    @model_validator(mode="before")
    @classmethod
    def _of_recipe(cls, values: Any) -> Any:
        """The recipe says what is not said otherwise."""
        if not isinstance(values, dict):
            return values
        usual: dict[str, Any] = {}
        if values.get("recipe") == "calibrated":
            usual = {"features": [AUTO], "k": [AUTO]}
        elif values.get("sort") == "polysemantic":
            usual = {"k": [AUTO]}
        return {**usual, **values}

    @model_validator(mode="after")
    def _named(self) -> OfFeatures:
        if self.transform != L1:
            features = [with_transform(name, self.transform) for name in self.features]
            object.__setattr__(self, "features", features)
            object.__setattr__(self, "transform", L1)
        return self


class ClusterSettings(OfNeurons, OfFeatures):
    k: list[K] = [2]
    seed: int = 0
    sort: Literal["silhouette", "polysemantic", "neuron"] = "silhouette"

    _lists = field_validator("features", mode="before")(_as_list)
    _ks = field_validator("k", mode="before")(_k_as_list)

    _k = field_validator("k")(_sorted_k)

    @field_validator("sort")
    @classmethod
    def _can_be_sorted(cls, value: str, info: ValidationInfo) -> str:
        if value == "polysemantic" and AUTO not in info.data.get("k", [AUTO]):
            raise ValueError("polysemanticity is there with --k auto alone")
        return value


class RenderSettings(OnDevice, OfNeurons, OfFeatures):
    k: list[K] | None = None
    crop: Literal["crp", "activation", "none"] = "crp"
    format: Literal["png", "pdf", "svg"] = "png"
    images: int = Field(8, ge=1, le=8)
    out: Path | None = None
    seed: int = 0

    _lists = field_validator("features", mode="before")(_as_list)
    _ks = field_validator("k", mode="before")(_k_as_list)
    _k = field_validator("k")(_sorted_k)


class EmbedSettings(Running, OfNeurons):
    embedder: list[str] = ["clip"]
    embedder_layer: str | None = None
    embedder_weights: Path | None = None
    embedder_size: int | None = Field(None, ge=1)
    crop: Literal["crp", "activation", "none"] = "crp"

    _lists = field_validator("embedder", mode="before")(_as_list)


class EvaluateSettings(Running, OfNeurons):
    metric: list[str]
    features: list[str] | None = None
    k: list[int] = [2, 3, 4, 5]
    judge: str | None = None
    polysemantic: float | None = None
    sample: int = Field(0, ge=0)
    embed: bool = False
    latex: bool = False
    seed: int = 0

    _lists = field_validator("metric", "features", mode="before")(_as_list)
    _ks = field_validator("k", mode="before")(_k_as_list)
    _k = field_validator("k")(_sorted_k)


class CalibrateSettings(Running):
    layer: list[LayerName] | None = None
    lower_layer: list[LayerName] | None = None
    grouping: Path | None = None
    budget: float = Field(1.0, gt=0, le=100, allow_inf_nan=False)
    latex: bool = False
    seed: int = 0

    _lists = field_validator("layer", "lower_layer", mode="before")(_as_list)


STAGES: dict[str, type[Settings]] = {
    "collect": CollectSettings,
    "directions": DirectionsSettings,
    "calibrate": CalibrateSettings,
    "attribute": AttributeSettings,
    "embed": EmbedSettings,
    "cluster": ClusterSettings,
    "render": RenderSettings,
    "evaluate": EvaluateSettings,
}
OPTIONS = {"n": "-n", "m": "-m", "how": "pca or nmf"}  # how the command line says a setting, where it is not as usual
BY_OTHER_NAMES = {"references": "n", "components": "m"}  # long names of options whose setting has another one
OF_THE_COMMAND_LINE = ("quiet", "verbose", "json", "debug", "config", "list_layers", "damaged", "help")  # alone
CONFIG_ONLY = ("workspace",)  # keys of a config file that belong to no stage
ON_DEMAND = (
    "directions",
    "embed",
    "calibrate",
    "evaluate",
)  # stages that `pure run` does only where the file has a section for them


def make(stage: str, options: Mapping[str, Any]) -> Any:
    """The settings of `stage` from options, checked.

    Raises
    ------
    PureError
        One sentence for the first option that is unknown, missing or out of range.
    """
    cls = STAGES[stage]
    try:
        return cls(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        if first["type"] == "extra_forbidden":
            raise unknown(f"setting of {stage}", name, cls.model_fields) from None
        option = OPTIONS.get(name, "--" + name.replace("_", "-"))
        if first["type"] == "missing":
            raise PureError(f"pure {stage} needs {option} (or '{name}' in the file given with --config).") from None
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # of several options together
            raise PureError(f"{message}.") from None
        raise PureError(f"{option}: {message[0].lower()}{message[1:]}, not {first['input']!r}.") from None


def config_folder() -> Path:
    """Where the presets are: in the package when it is installed, beside it in a checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "configs"


def presets() -> dict[str, Path]:
    """Name and file of every preset."""
    return {path.stem: path for path in sorted(config_folder().glob("*.yaml"))}


class _AsWritten(yaml.SafeLoader):
    """Keeps what is written: a layer 0.10 is no number, `on` no truth, 1:30 no minute."""


_NO_VALUES = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_AsWritten.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _NO_VALUES]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_config(path: Path) -> dict[str, Any]:
    """A YAML file of options; a key at the top holds for every stage that knows it, a section for one stage.

    All values are texts as they are written, or lists of them; `make` gives them their types.
    Paths in the file are relative to the working directory, as on the command line.

    Raises
    ------
    PureError
        No such file, no YAML, or a key that no stage knows.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _AsWritten)
    except FileNotFoundError:
        raise PureError(f"There is no config file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PureError(f"The config file {path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise PureError(f"{path} is not valid YAML{line}: {getattr(error, 'problem', None) or error}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PureError(f"{path} must hold 'key: value' lines, such as 'model: resnet50'.")
    shared = {key for cls in STAGES.values() for key in cls.model_fields}
    content = _by_setting(content, path)
    content |= {key: _by_setting(own, path) for key, own in content.items() if key in STAGES and isinstance(own, dict)}
    for key, value in content.items():
        if _is_section(key, value):
            if value is not None and not isinstance(value, dict):
                raise PureError(f"{path}: the section '{key}' must hold 'key: value' lines.")
            for inner in value or {}:
                if inner not in STAGES[key].model_fields:
                    raise unknown(f"key in the section '{key}' of {path}", str(inner), STAGES[key].model_fields)
        elif key not in shared and key not in CONFIG_ONLY and not (key in COMMANDS and isinstance(value, dict)):
            raise unknown(f"key in {path}", str(key), [*shared, *STAGES, *CONFIG_ONLY])
    return content


def _by_setting(content: Mapping[Any, Any], path: Path) -> dict[Any, Any]:
    """The same with the names of settings, where options are called as the command line calls them.

    Raises
    ------
    PureError
        An option by two names, or one that only the command line has.
    """
    found: dict[Any, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_").strip("_")
        name = BY_OTHER_NAMES.get(name, name)
        if name in OF_THE_COMMAND_LINE:
            option = f"--{name.replace('_', '-')}"
            raise PureError(
                f"'{key}' in {path} is an option of the command line alone: leave it out, and pass {option}."
            )
        known = name in CONFIG_ONLY or any(name in cls.model_fields for cls in STAGES.values())
        name = name if known else key
        if name in found:
            raise PureError(f"{path} says '{name}' twice, the second time as '{key}'. Leave one of them out.")
        found[name] = value
    return found


def _is_section(key: str, value: Any) -> bool:
    """Whether a key at the top of a config file is about one stage; ``directions: FILE`` is an option of collect."""
    return key in STAGES and (key not in CollectSettings.model_fields or isinstance(value, dict))


def stages_of(content: Mapping[str, Any]) -> list[str]:
    """The stages that a config file asks for, in order."""
    return [
        stage for stage in STAGES
        if stage not in ON_DEMAND or (stage in content and _is_section(stage, content[stage]))
    ]  # fmt: skip


def options_of(content: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """What a config file says for one stage: its section over the top of the file."""
    known = STAGES[stage].model_fields
    shared = {key: value for key, value in content.items() if key in known and not _is_section(key, value)}
    own = content.get(stage) if _is_section(stage, content.get(stage)) else None
    merged = {**shared, **(own or {})}
    return {key: value for key, value in merged.items() if value is not None}  # a key without a value says nothing


def with_preset(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for collect in which a preset's name stands for what the preset says; what is given wins."""
    name = options.get("model")
    known = presets()
    if not isinstance(name, str) or name not in known:
        return dict(options)
    preset = options_of(read_config(known[name]), "collect")
    if isinstance(preset.get("weights"), str):  # shipped beside the preset or in the package
        preset["weights"] = str(Path(__file__).parent / preset["weights"])
    given = {key: value for key, value in options.items() if key != "model"}
    return {**preset, **given}


def preset_lower_layers(model: str, layer: str) -> list[str] | None:
    """The lower layers that a preset names for its layer; None where no preset speaks of this model and layer."""
    for path in presets().values():
        content = read_config(path)
        if content.get("model") == model and layer in _as_list(content.get("layer")):
            return _as_list(content.get("lower_layer"))
    return None
