"""What the settings of several stages have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, field_validator, model_validator

from pure_cli.core.features import PURE, with_transform
from pure_cli.core.neurons import parse_addresses
from pure_cli.errors import PureError
from pure_cli.registry import RULES, TRANSFORMS, Registry
from pure_cli.settings.option import PLACE, RUNNING, option

FLOAT32, TF32, BFLOAT16 = "float32", "tf32", "bfloat16"
DEVICE = r"auto|cpu|mps|cuda(:\d+)?"
AUTO = "auto"  # what is chosen by evidence: k for each neuron, lower layers and features by calibrate
PAPER, HIDDEN, CALIBRATED = "paper", "hidden", "calibrated"  # recipes
USUAL = "usual"  # features by the recipe that stands in where none is named
RECIPES = (USUAL, PAPER, HIDDEN, AUTO)  # words that stand for kinds of features
COMPILED = "_orig_mod."  # in names of layers, where torch.compile has wrapped a module
FEATURES = (
    "usual, by the recipe; pure, pure@LOWER_LAYER (@A+B joins two), activation-max, activation-mean, lower-activation, "
    "or embeddings such as clip; repeat for several."
)
OF_BEFORE = "all that the stage before did"
ALL_THERE = "all that are there"
NEURONS, VIRTUAL, BOTH = "neurons", "virtual", "both"  # units of a layer
K = int | Literal["auto"]
K_IN_PYTHON = "int | str | Sequence[int | str]"
NEURONS_IN_PYTHON = "int | str | Sequence[int | str]"
LayerName = Annotated[str, AfterValidator(lambda name: name.replace(COMPILED, ""))]


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


def _place_as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Place = Annotated[str, BeforeValidator(_place_as_text)]


def ends_in(*endings: str) -> Callable[[Path | None], Path | None]:
    """A validator of files that are to be written: by their endings, the format is known."""

    def check(value: Path | None) -> Path | None:
        if value is not None and value.suffix.lower() not in endings:
            raise ValueError(f"it has to end in {' or '.join(endings)}")
        return value

    return check


def as_list(value: Any) -> Any:
    """A single value stands for a list of one; text is split at commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, list | tuple):
        return [part for item in value for part in (as_list(item) if isinstance(item, str) else [item])]
    return value


def _as_text(value: Any) -> Any:
    """Neurons given as a number or a list of numbers, in the form of the command line."""
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, int):
        return str(value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def k_as_list(value: Any) -> Any:
    """``2,3`` and ``2-5``, alone or together."""
    found: list[Any] = []
    for part in as_list(value) or []:
        first, dash, last = str(part).partition("-")
        both = dash and first.isdecimal() and last.isdecimal()
        found += range(int(first), int(last) + 1) if both else [part]
    return found if value is not None else None


def sorted_k(value: list[Any] | None) -> list[Any] | None:
    """Numbers ascending, then what stands for a number chosen for each neuron."""
    if value is None:
        return None
    numbers = sorted({k for k in value if k != AUTO})
    if not value or (numbers and numbers[0] < 1):
        raise ValueError("every k must be 1 or more")
    return [*numbers, *([AUTO] if AUTO in value else [])]


def seed_option() -> Any:
    return option(0, "Seed of every random choice.", metavar="N", panel=RUNNING)


def latex_option() -> Any:
    return option(False, "Write the tables as LaTeX too.")


def layer_option(otherwise: str = OF_BEFORE) -> Any:
    return option(None, "Layers to work on; repeat for several.", metavar="LAYER", otherwise=otherwise)


def neurons_option(text: str) -> Any:
    return option(None, text, metavar="LIST", otherwise=OF_BEFORE, python=NEURONS_IN_PYTHON)


def data_option(
    default: Any = None,
    text: str = "Images, as of `pure collect --data`.",
    otherwise: str = "those of the workspace",
    **more: Any,
) -> Any:
    """Where images are, of type `Place`: a path or a URL."""
    return option(default, text, metavar="DIR", otherwise=otherwise, python=PLACE, **more)


def limit_option() -> Any:
    return option(None, "Use N images only, spread evenly over the data.", metavar="N", ge=1)


class Options(BaseModel):
    """What a stage needs to know."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Settings(Options):
    """Settings of a stage that keeps results in the workspace."""

    force: bool = option(False, "Compute anew what is up to date.", panel=RUNNING)
    verify: bool = option(False, "Read all images again: does any differ from the collected?", panel=RUNNING)


class Computing(Options):
    """How the network is run."""

    device: str = option(
        "auto",
        "Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several: cuda:0,cuda:1.",
        metavar="NAME",
        panel=RUNNING,
        otherwise="auto, the fastest there is",
    )
    batch_size: int | None = option(
        None, "Images at once.", metavar="N", panel=RUNNING, otherwise="what suits device and image size", ge=1
    )
    deterministic: bool = option(
        True,
        "The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the same.",
        panel=RUNNING,
    )
    precision: Literal["float32", "tf32"] = option(
        FLOAT32,
        "float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere on.",
        metavar="TYPE",
        panel=RUNNING,
    )

    several_devices: ClassVar[bool] = False  # whether the stage shares its work among them

    @field_validator("device", mode="before")
    @classmethod
    def _has_devices(cls, value: Any) -> Any:
        """Names of devices.

        Raises
        ------
        PureError
            The stage computes on one.
        """
        names = as_list(value) if isinstance(value, str | list | tuple) else [str(value)]
        if not names or not all(re.fullmatch(DEVICE, str(name)) for name in names):
            raise ValueError("input should be auto, cpu, mps, cuda, or cuda:NUMBER; several with commas")
        kinds = {str(name).partition(":")[0] for name in names}
        if len(names) > 1 and not cls.several_devices:
            raise PureError(
                "Several devices are for `pure collect` and `pure attribute` (a file of options names them in their "
                f"sections). All else computes on one: --device {names[0]}."
            )
        if len(names) > 1 and (len(kinds) > 1 or AUTO in kinds):
            raise PureError(
                f"Name devices of one kind, as in --device cuda:0,cuda:1, and not {','.join(map(str, names))}: "
                "different ones round differently."
            )
        return ",".join(map(str, names))

    @field_validator("precision", mode="before")
    @classmethod
    def _has_few_bits(cls, value: object) -> object:
        """Numbers of few bits, where the stage is not made for them.

        Raises
        ------
        PureError
            It is not.
        """
        if value == BFLOAT16 and value not in get_args(cls.model_fields["precision"].annotation):
            raise PureError(
                "--precision bfloat16 is for `pure attribute` by gradient-x-input, and all else needs float32 or tf32; "
                "a file of options says it in the section 'attribute'."
            )
        return value

    @property
    def arithmetic(self) -> dict[str, str]:
        """What of it results depend on: nothing where that is the usual."""
        return {} if self.precision == FLOAT32 else {"precision": self.precision}


class Decoding(Computing):
    """How the network is run on many images, which processes decode."""

    workers: int | None = option(
        None, "Processes that decode images.", metavar="N", panel=RUNNING, otherwise="one a core", ge=0
    )


class OnDevice(Settings, Computing):
    """Settings of a stage that runs the network, and keeps results."""


class Running(OnDevice, Decoding):
    """Settings of a stage that runs the network on many images, and keeps results."""

    @property
    def running(self) -> dict[str, Any]:
        """How the network is run, for another stage on the way."""
        return {name: getattr(self, name) for name in Running.model_fields if name not in Settings.model_fields}


class OfNeurons(Options):
    """Settings of a stage that works on some layers and neurons of what was collected."""

    neurons: str | None = neurons_option("Which neurons: 201,2,341 or 0-63 or all; with its layer, layer4/201.")
    layer: list[LayerName] | None = layer_option()

    _layer = field_validator("layer", mode="before")(as_list)
    _neurons = field_validator("neurons", mode="before")(_as_text)

    @model_validator(mode="before")
    @classmethod
    def _of_addresses(cls, values: Any) -> Any:
        """The layers that addresses of neurons name, where no layer is named otherwise.

        Raises
        ------
        PureError
            Some have a layer and some have none.
        """
        if not isinstance(values, dict) or values.get("layer") is not None:
            return values
        text = _as_text(values.get("neurons"))
        layers = {address.layer: None for address in parse_addresses(text)} if isinstance(text, str) else {}
        if len(layers) > 1 and "" in layers:
            raise PureError(f"Name the layer of each neuron or of none: --neurons {text}.")
        return {**values, "layer": list(layers)} if any(layers) else values


class OfVirtualNeurons(OfNeurons):
    """Settings of a stage that works on some layers, neurons and virtual neurons."""

    neurons: str | None = neurons_option(
        "Which neurons: 201,2,341 or 0-63 or all, or virtual neurons, 201.2; with their layer, layer4/201.2."
    )


class ByRecipe(Options):
    """Settings of a stage for which there are recipes: the paper's, by the hidden layer, and a calibrated one."""

    recipe: Literal["paper", "hidden", "calibrated"] | None = option(
        None,
        "paper: as published; hidden: circuits through the hidden layer of the last block, by sqrt-l2; calibrated: "
        "lower layers, features and k that `pure calibrate` found best; other options win.",
        metavar="NAME",
        otherwise="paper for a preset and without such a layer, else hidden",
    )


class OfFeatures(ByRecipe):
    """Settings of a stage that works with kinds of features.

    The transform is said in the names of the features: what follows knows nothing else.
    """

    features: list[str] = option([USUAL], FEATURES, metavar="KIND")
    transform: TransformName | None = option(
        None,
        "How relevances become features.",
        metavar="NAME",
        otherwise="that of the recipe, or l1",
        values=TRANSFORMS,
        listed=f"{TRANSFORMS.listed()}.",
    )

    _features = field_validator("features", mode="before")(as_list)

    @model_validator(mode="before")
    @classmethod
    def _of_recipe(cls, values: Any) -> Any:
        """The recipe says what is not said otherwise."""
        if not isinstance(values, dict):
            return values
        usual: dict[str, Any] = {}
        recipe = values.get("recipe")
        if recipe == CALIBRATED:
            usual = {"features": [AUTO], "k": [AUTO]}
        elif recipe in (PAPER, HIDDEN):
            usual = {"features": [recipe]}
        if values.get("sort") == "polysemantic":
            usual = {"k": [AUTO], **usual}
        return {**usual, **values}

    @model_validator(mode="after")
    def _named(self) -> OfFeatures:
        if self.transform is not None:
            names = [PURE if name in (USUAL, PAPER, HIDDEN) else name for name in self.features or [USUAL]]
            object.__setattr__(self, "features", [with_transform(name, self.transform) for name in names])
            object.__setattr__(self, "transform", None)
        return self
