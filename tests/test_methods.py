"""What an option is, is declared once: the command line, Python, its docstrings and config files say the same."""

import inspect
from pathlib import Path

import pytest

from pure_cli import PureError, Workspace, api, config, methods
from pure_cli.commands.usage import whole
from pure_cli.registry import COMMANDS, STAGES
from pure_cli.settings.export import MembersSettings
from pure_cli.stages.outcome import Outcome

SELF = ("self", "progress")


@pytest.fixture
def gets(monkeypatch, tmp_path):
    """A workspace, and the settings that its stages got."""
    found = []

    def note(self, stage, settings, progress):
        found.append((settings, progress))
        return Outcome(stage, [], 0, "")

    monkeypatch.setattr(api.Workspace, "_run", note)
    return Workspace(tmp_path / "w"), found


def test_the_stub_is_what_the_declarations_give():
    assert Path(methods.__file__).with_suffix(".pyi").read_text(encoding="utf-8") == methods.stub(), "run: make stubs"


@pytest.mark.parametrize("stage", config.stage_names())
def test_a_method_has_the_options_of_its_command_with_their_help_and_defaults(stage):
    method, options = getattr(Workspace, STAGES[stage].method or stage), config.known_options(stage)
    parameters = {name: one for name, one in inspect.signature(method).parameters.items() if name not in SELF}
    command = {option.name: option for option in whole(stage, COMMANDS[stage]).params}
    assert parameters.keys() == options.keys()
    assert parameters.keys() <= command.keys()
    words = " ".join(method.__doc__.split())
    for name, option in options.items():
        assert f"{name} : " in words
        usual = parameters[name].default
        if usual not in (None, inspect.Parameter.empty):
            assert config.settings_of(stage).model_fields[name].default == usual
        if option.argument:
            continue
        assert command[name].help == option.described
        assert set(option.flags[0].split("/")) <= {*command[name].opts, *command[name].secondary_opts}


def test_members_takes_the_options_of_export():
    own = list(inspect.signature(Workspace.members).parameters.values())[1:]
    declared = list(methods.parameters_of(MembersSettings))
    assert [(one.name, one.annotation, one.default) for one in own] == [
        (one.name, one.annotation, one.default) for one in declared
    ]


def test_a_short_name_of_the_command_line_is_one_in_python_too(gets):
    workspace, found = gets
    workspace.collect(model="m.py:f", data=".", n=7)
    workspace.collect(model="m.py:f", data=".", references=7)
    assert found[0][0] == found[1][0]
    with pytest.raises(PureError, match=r"collect\(\) says 'n' twice, the second time as 'references'"):
        workspace.collect(model="m.py:f", data=".", n=7, references=8)


def test_none_says_nothing_and_what_is_unknown_is_named(gets):
    workspace, found = gets
    workspace.cluster(neurons=None, k=None)
    assert found[0][0] == config.make("cluster", {})
    with pytest.raises(PureError, match="Unknown setting of cluster 'neuron'"):
        workspace.cluster(neuron=3)
    with pytest.raises(TypeError, match="directions"):
        workspace.directions("pca", 3)


def test_progress_is_told_to_a_function_and_shown_where_someone_looks_on(gets, capsys, monkeypatch):
    workspace, found = gets
    told = []
    workspace.cluster(progress=lambda done, total: told.append((done, total)))
    found[0][1](1, 2)
    assert told == [(1, 2)]
    workspace.cluster()
    found[1][1](1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal, for rich
    workspace.cluster()
    assert "cluster" in capsys.readouterr().err
    workspace.cluster(progress=False)
    assert capsys.readouterr().err == ""
