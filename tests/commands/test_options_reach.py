"""Every option of every command changes what its stage gets."""

import pytest

from pure_cli import api, config, registry
from pure_cli.commands.common import HABITS
from pure_cli.commands.usage import whole
from pure_cli.errors import PureError
from pure_cli.settings.shared import OnDevice
from pure_cli.stages.outcome import Outcome

NOT_FOR_STAGES = {*HABITS, "list_layers", "help"}  # what is shown, and where
BASE = {
    "collect": {"model": "m.py:f", "data": "."},
    "directions": {"how": "pca"},
    "evaluate": {"metric": "labels"},
    "compare": {"other": "b"},
}
TOGETHER = {
    "rule": ["--by", "relevance"], "target": ["--by", "relevance"], "sort": ["--k", "auto"],
    "parts": ["--on", "ray"],
    "depth": ["--circuit", "201.2"], "through": ["--circuit", "201.2"],
}  # fmt: skip
VALUES = {
    "mean": "0.1,0.2,0.3", "std": "0.1,0.2,0.3", "k": "3", "rule": "epsilon", "target": "predicted", "pool": "sum",
    "by": "relevance", "position": "max", "precision": "tf32", "store": "float16", "recipe": "calibrated",
    "transform": "sqrt-l2", "sort": "polysemantic", "crop": "none", "format": "pdf", "interpolation": "nearest",
    "how": "nmf", "device": "cpu", "channels_axis": "last", "directions_part": "encoder", "ablation": "zero",
    "between": "a,b", "sparsity": "batch-topk", "units": "tree", "correlation": "spearman", "shuffles": "30",
    "other": "c", "controls": "untrained", "part": "3/64", "stage": "embed",
    "on": "ray",
}  # fmt: skip
OF_COMPARE = {"by": "images", "units": "neurons"}  # what is "by" something else elsewhere
OF_LABEL = {"by": "soft-wpmi", "units": "neurons", "embedder": "clip-image", "shuffles": "30"}
OF_AUDIT = {"classes": "dog"}
OF_SEARCH = {"text": "dog", "units": "neurons", "embedder": "clip-image", "out": "sheet.pdf"}
OF_ATLAS = {"size": "small", "crop": "none"}
COMMANDS = {name: whole(name, registry.COMMANDS[name]) for name in config.stage_names()}
EVERY = [(name, option.name) for name, command in COMMANDS.items() for option in command.params]


class Got(Exception):
    pass


def words(command: str, option) -> list[str]:
    """The option with a value other than the default."""
    if option.param_type_name == "argument":
        return [(VALUES | OF_SEARCH | OF_AUDIT)[option.name]]
    if option.is_flag:
        return [option.secondary_opts[0] if option.secondary_opts else option.opts[0]]
    annotation = str(config.known_options(command)[option.name].kind)
    number = "int" in annotation or "float" in annotation
    if command in ("edit", "export", "freeze") and option.name == "out":
        return [option.opts[0], "other.npz" if command == "freeze" else "other.csv"]
    own = {"compare": OF_COMPARE, "label": OF_LABEL, "search": OF_SEARCH, "atlas": OF_ATLAS}
    values = VALUES | own.get(command, {})
    return [option.opts[0], values.get(option.name, "7" if number else "0" if option.name == "neurons" else "another")]


@pytest.fixture
def gets(cli, monkeypatch, tmp_path):
    """What the stage of a command gets."""
    found = []

    def note(self, stage, settings, progress):
        found.append(settings)
        raise Got

    monkeypatch.setattr(api.Workspace, "_run", note)

    def run(command: str, *more: str):
        needed: list[str] = []
        for name, value in BASE.get(command, {}).items():
            option = next(one for one in COMMANDS[command].params if one.name == name)
            if not set(option.opts) & set(more) and not (option.param_type_name == "argument" and VALUES[name] in more):
                needed += [value] if option.param_type_name == "argument" else [option.opts[0], value]
        found.clear()
        workspace = next(one for one in COMMANDS[command].params if one.name == "workspace")
        named = [] if workspace.param_type_name == "argument" else ["-w"]
        answer = cli(command, *named, tmp_path / "w", *needed, *more)
        assert found, answer.err
        return found[0]

    return run


@pytest.mark.parametrize(("command", "name"), [one for one in EVERY if one[1] not in NOT_FOR_STAGES])
def test_every_option_changes_what_the_stage_gets(gets, command, name):
    option = next(one for one in COMMANDS[command].params if one.name == name)
    more = TOGETHER.get(name, []) if command in ("collect", "cluster", "render") or name == "parts" else []
    before, after = gets(command, *more), gets(command, *more, *words(command, option))
    assert before != after
    if name in type(after).model_fields and name != "transform":
        assert getattr(after, name) != getattr(before, name)


@pytest.mark.parametrize("stage", config.stage_names())
def test_every_option_of_a_command_is_a_key_of_the_file(stage):
    own = {option.name for option in COMMANDS[stage].params} - NOT_FOR_STAGES
    assert own == set(config.known_options(stage))


@pytest.mark.parametrize("stage", config.stage_names())
def test_a_file_may_say_options_as_the_command_line_does(stage, tmp_path):
    file = tmp_path / "study.yaml"
    for option in COMMANDS[stage].params:
        for name in [one.strip("-") for one in option.opts if one.startswith("--")]:
            file.write_text(f"{stage}: {{{name}: 1}}\n")
            if option.name in NOT_FOR_STAGES - {"workspace"}:
                with pytest.raises(PureError, match=f"command line alone: leave it out, and pass --{name}"):
                    config.read_config(file)
            elif option.name != "workspace":
                assert config.stage_options(config.read_config(file), stage) == {option.name: "1"}


@pytest.mark.parametrize("written", ["deterministic: false", "deterministic: off\ncollect: {deterministic: no}"])
def test_what_a_file_turns_off_is_off_in_every_stage(cli, monkeypatch, tmp_path, written):
    found = {}

    def note(self, stage, settings, progress):
        found[stage] = settings
        return Outcome(stage, [], 0, "")

    monkeypatch.setattr(api.Workspace, "_run", note)
    monkeypatch.setattr(api.Workspace, "virtual_neuron_tables", lambda *_, **__: [])
    stages = [
        "embed",
        "calibrate",
        "choose",
        "assign",
        "audit",
        "edit",
        "export",
        "freeze",
        "label",
        "search",
        "atlas",
        "merge",
    ]
    every = "\n".join(f"{stage}: {{}}" for stage in stages)
    more = "evaluate: {metric: labels}\ndirections: {how: pca}\ncompare: {other: b}"
    (tmp_path / "study.yaml").write_text(f"model: m.py:f\ndata: .\n{written}\n{every}\n{more}\n")
    answer = cli("run", "-c", tmp_path / "study.yaml", "-w", tmp_path / "w")
    assert answer.code == 0, answer.err
    assert set(found) == set(config.stage_names())
    running = {stage: own for stage, own in found.items() if isinstance(own, OnDevice)}
    assert len(running) > 5
    assert not any(own.deterministic for own in running.values())
