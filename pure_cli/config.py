"""Options from the command line, Python and YAML files, as settings of the stages. Light: no torch here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pure_cli.errors import PureError, unknown
from pure_cli.registry import COMMANDS, STAGES
from pure_cli.settings.option import Option, options_of
from pure_cli.settings.shared import Options, as_list
from pure_cli.words import as_given

OF_THE_COMMAND_LINE = ("quiet", "verbose", "json", "debug", "config", "list_layers", "damaged", "help")  # alone
CONFIG_ONLY = ("workspace",)  # keys of a config file that belong to no stage


def fingerprint(value: Any) -> str:
    """Hash of a JSON-like value, independent of the order of its keys."""
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


@cache
def stage_names() -> tuple[str, ...]:
    """The stages, in the order in which ``pure run`` does them."""
    return tuple(sorted(STAGES.working(), key=lambda name: (STAGES[name].order, name)))


def settings_of(stage: str) -> type[Options]:
    """The settings of a stage."""
    return STAGES[stage].settings


@cache
def known_options(stage: str) -> dict[str, Option]:
    """The options of a stage, by the name of the setting."""
    return {option.name: option for option in options_of(settings_of(stage))}


@cache
def _other_names() -> dict[str, str]:
    """Names of options on the command line that are not the setting's: ``n`` is ``references``. Where two stages mean
    other things by one, that of the earlier stage."""
    found: dict[str, str] = {}
    for stage in stage_names():
        found = _flags_of(known_options(stage).values()) | found
    return found


def _flags_of(options: Iterable[Option]) -> dict[str, str]:
    """Names of some options on the command line that are not the setting's."""
    named = {flag.strip("-").replace("-", "_"): one.name for one in options for flag in one.flags if "/" not in flag}
    return {name: setting for name, setting in named.items() if name != setting}


def make(stage: str, options: Mapping[str, Any], settings: type[Options] | None = None) -> Any:
    """The settings of `stage` from options, checked.

    Parameters
    ----------
    options : by the names of the settings, or those of the command line (``n`` for references)
    settings : others than those of the stage

    Raises
    ------
    PureError
        One sentence for the first option that is unknown, missing, there twice or out of range.
    """
    cls = settings or settings_of(stage)
    known = {option.name: option for option in options_of(cls)} if settings else known_options(stage)
    try:
        return cls(**by_setting(options, f"pure {stage}", known))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        if first["type"] == "extra_forbidden":
            raise unknown(f"setting of {stage}", name, cls.model_fields) from None
        called = known[name].called if name in known else name
        if first["type"] == "missing":
            raise PureError(f"pure {stage} needs {called} (or '{name}' in the file given with --config).") from None
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # of several options together
            raise PureError(f"{message}.") from None
        about = "" if name in known and known[name].argument else f"{called}: "
        message = message if not about else message[0].lower() + message[1:]
        raise PureError(f"{about}{message}, not {as_given(first['input'])}.") from None


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
    shared = {key for stage in stage_names() for key in known_options(stage)}
    content = _of_file(content, path)
    content |= {
        key: _of_file(own, path) for key, own in content.items() if key in stage_names() and isinstance(own, dict)
    }
    for key, value in content.items():
        if _is_section(key, value):
            if value is not None and not isinstance(value, dict):
                raise PureError(f"{path}: the section '{key}' must hold 'key: value' lines.")
            for inner in value or {}:
                if inner not in known_options(key):
                    raise unknown(f"key in the section '{key}' of {path}", str(inner), known_options(key))
        elif key not in shared and key not in CONFIG_ONLY and not (key in COMMANDS and isinstance(value, dict)):
            raise unknown(f"key in {path}", str(key), [*sorted(shared), *stage_names(), *CONFIG_ONLY])
    return content


def _of_file(content: Mapping[Any, Any], path: Path) -> dict[Any, Any]:
    """The content of a config file with the names of settings, where options are called as the command line calls them.

    Raises
    ------
    PureError
        An option by two names, or one that only the command line has.
    """
    plain = {}
    known = {name for stage in stage_names() for name in known_options(stage)} | {*CONFIG_ONLY, *_other_names()}
    for key, value in content.items():
        name = str(key).replace("-", "_").strip("_")
        if name in OF_THE_COMMAND_LINE:
            option = f"--{name.replace('_', '-')}"
            raise PureError(
                f"'{key}' in {path} is an option of the command line alone: leave it out, and pass {option}."
            )
        name = name if name in known else key
        if name in plain:
            raise _twice(path, name, key)
        plain[name] = value
    return by_setting(plain, path)


def by_setting(
    options: Mapping[Any, Any], where: Path | str, known: Mapping[Any, Option] | None = None
) -> dict[Any, Any]:
    """Options with the names of settings, where they go by other names.

    Parameters
    ----------
    known : the options that there are here, by setting: other stages' names for theirs do not matter

    Raises
    ------
    PureError
        An option by two names.
    """
    found: dict[Any, Any] = {}
    written: dict[Any, Any] = {}
    known = known or {}
    others = _other_names() | _flags_of(known.values())
    for key, value in options.items():
        name = key if key in known else others.get(key, key)
        if name in found:
            raise _twice(where, written[name], key)
        found[name], written[name] = value, key
    return found


def _twice(where: Path | str, name: str, key: str) -> PureError:
    return PureError(f"{where} says '{name}' twice, the second time as '{key}'. Leave one of them out.")


def _is_section(key: str, value: Any) -> bool:
    """Whether a key at the top of a config file is about one stage; ``directions: FILE`` is an option of collect."""
    return key in STAGES and (key not in known_options("collect") or isinstance(value, dict))


def stages_of(content: Mapping[str, Any]) -> list[str]:
    """The stages that a config file asks for, in order."""
    return [
        stage for stage in stage_names()
        if not STAGES[stage].on_demand or (stage in content and _is_section(stage, content[stage]))
    ]  # fmt: skip


def stage_options(content: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """What a config file says for one stage: its section over the top of the file."""
    known = known_options(stage)
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
    preset = stage_options(read_config(known[name]), "collect")
    if isinstance(preset.get("weights"), str):  # shipped beside the preset or in the package
        preset["weights"] = str(Path(__file__).parent / preset["weights"])
    given = {key: value for key, value in options.items() if key != "model"}
    return {**preset, **given}


def preset_lower_layers(model: str, layer: str) -> list[str] | None:
    """The lower layers that a preset names for its layer; None where no preset speaks of this model and layer."""
    for path in presets().values():
        content = read_config(path)
        if content.get("model") == model and layer in as_list(content.get("layer")):
            return as_list(content.get("lower_layer"))
    return None
