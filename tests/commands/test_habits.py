"""What every command does the same way: --json, -q, up to date, --force, environment, config files, help."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from pure_cli import registry
from pure_cli.commands.usage import whole

STAGES = ["collect", "attribute", "cluster", "render"]
COMMANDS = [*STAGES, "directions", "embed", "evaluate", "run", "info", "demo"]


@pytest.fixture
def config(study):
    """A config file of the whole study; returns its path, with more keys when called with them."""

    def write(**more) -> str:
        content = {
            "workspace": str(study.workspace),
            "model": study.model,
            "weights": str(study.weights),
            "data": str(study.data),
            "n": 6,
            "workers": 0,
            "render": {"neurons": [0]},
            **more,
        }
        path = study.folder / "study.yaml"
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return write


def options(study, stage: str) -> tuple:
    return {"collect": (*study.inputs, "--workers", 0), "render": ("--neurons", 0)}.get(stage, ())


def strict_json(text: str) -> dict:
    """The one object in `text`; NaN and infinities are no JSON."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def test_json_is_one_object_on_standard_output_for_every_stage(study):
    for stage in STAGES:
        for up_to_date in (False, True):
            answer = study.pure(stage, *options(study, stage), "--json")
            assert answer.code == 0, answer.err
            found = strict_json(answer.out)
            assert answer.out.count("\n") == 1
            assert (found["stage"], found["layers"], found["up_to_date"]) == (stage, ["layer3"], up_to_date)
            assert f"{stage}: " in answer.err


def test_json_has_the_same_keys_whether_up_to_date_or_not(study):
    for stage in STAGES:
        first, second = (study.pure(stage, *options(study, stage), "--json").json for _ in range(2))
        assert first.keys() == second.keys()


def test_json_of_info_run_and_layers(study, config):
    layers = strict_json(study.collect("--list-layers", "--json").out)
    assert layers["default"] == "layer3"
    assert not study.file("collect").exists()
    run = strict_json(study.pure("run", "-c", config(), "--json").out)
    assert [stage["stage"] for stage in run["stages"]] == STAGES
    info = strict_json(study.pure("info", "--json").out)
    assert [result["stage"] for result in info["results"]] == STAGES


def test_json_numbers_the_virtual_neurons(study):
    study.to("attribute")
    (table,) = strict_json(study.pure("cluster", "--json").out)["tables"]
    assert (table["layer"], table["features"], table["k"]) == ("layer3", "pure", 2)
    for row in table["neurons"]:
        names = [virtual["name"] for virtual in row["virtual_neurons"]]
        assert names == [f"{row['neuron']}.{i + 1}" for i in range(len(names))]
        sizes = [virtual["size"] for virtual in row["virtual_neurons"]]
        assert sizes == sorted(sizes, reverse=True)


def test_quiet_prints_nothing(study, config):
    for stage in STAGES:
        for _ in range(2):
            answer = study.pure(stage, *options(study, stage), "-q")
            assert (answer.code, answer.out, answer.err) == (0, "", "")
    for more in (("run", "-c", config()), ("info",), ("collect", *study.inputs, "--list-layers")):
        answer = study.pure(*more, "-q")
        assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_second_run_is_up_to_date_and_computes_nothing(finished):
    files = [finished.file(stage) for stage in STAGES[:3]] + sorted(finished.workspace.rglob("*.png"))
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    for stage in STAGES:
        answer = finished.pure(stage, *options(finished, stage))
        assert answer.code == 0, answer.err
        assert f"{stage}: up to date (layer3)" in answer.out
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == before


def test_up_to_date_stage_imports_no_torch_and_no_sklearn(finished):
    """In a process of its own: the tests have torch."""
    lines = "\n".join(json.dumps([stage, "-w", *map(str, (finished.workspace, *options(finished, stage)))])
                      for stage in STAGES)  # fmt: skip
    code = (
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "from pure_cli.app import app\n"
        "for line in sys.stdin:\n"
        "    result = CliRunner().invoke(app, json.loads(line))\n"
        "    assert result.exit_code == 0 and 'up to date' in result.stdout, result.output\n"
        "    print([name for name in ('torch', 'timm', 'sklearn', 'matplotlib') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=lines, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]"] * len(STAGES), done.stderr


def test_help_and_import_take_no_torch():
    code = (
        "import sys, pure_cli\n"
        "from typer.testing import CliRunner\n"
        "from pure_cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'numpy', 'h5py', 'pydantic') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_force_computes_anew(finished):
    for stage, count in (("collect", 24), ("attribute", 12), ("cluster", 12), ("render", 1)):
        answer = finished.pure(stage, *options(finished, stage), "--force", "--json")
        assert answer.code == 0, answer.err
        assert (answer.json["up_to_date"], answer.json["computed"]) == (False, count), stage


def test_force_leaves_what_was_not_asked_for(study):
    study.collect("--layer", "layer2", "--layer", "layer3")
    study.pure("attribute", "--lower-layer", "layer1", "--workers", 0)
    study.pure("cluster", "--k", "2,3")
    study.pure("collect", "--layer", "layer3", "--force", "--workers", 0)
    study.pure("attribute", "--layer", "layer3", "--neurons", "1", "--force", "--workers", 0)
    study.pure("cluster", "--layer", "layer3", "--neurons", "1", "--k", "3", "--force")
    results = study.pure("info", "--json").json["results"]
    assert [(result["stage"], result["layer"], result["what"].split(" neurons")[0]) for result in results] == [
        ("collect", "layer2", "10"),
        ("collect", "layer3", "12"),
        ("attribute", "layer2", "10"),
        ("attribute", "layer3", "12"),
        ("cluster", "layer2", "10"),
        ("cluster", "layer3", "12"),
    ]
    assert {result["stale"] for result in results} == {None}


def test_environment_names_workspace_and_data(study, monkeypatch):
    monkeypatch.setenv("PURE_WORKSPACE", str(study.workspace))
    monkeypatch.setenv("PURE_DATA", str(study.data))
    answer = study.run("collect", "--model", study.model, "--weights", study.weights, "--workers", 0)
    assert answer.code == 0, answer.err
    assert study.file("collect").exists()
    assert study.run("info", "--json").json["origin"]["data"] == str(study.data)


def test_environment_does_not_change_the_data_of_a_workspace(study, monkeypatch):
    study.to("collect")
    monkeypatch.setenv("PURE_DATA", str(study.folder / "other"))
    assert study.pure("collect", "--layer", "layer2", "--json").json["layers"] == ["layer2"]
    assert study.pure("info", "--json").json["origin"]["data"] == str(study.data)


def test_options_win_over_environment(study, monkeypatch):
    monkeypatch.setenv("PURE_WORKSPACE", str(study.folder / "other"))
    monkeypatch.setenv("PURE_DATA", str(study.folder / "other"))
    assert study.collect().code == 0
    assert study.file("collect").exists()
    assert not (study.folder / "other").exists()


def test_config_file_wins_over_environment_and_options_over_both(study, config, monkeypatch):
    monkeypatch.setenv("PURE_WORKSPACE", str(study.folder / "other"))
    monkeypatch.setenv("PURE_DATA", str(study.folder / "other"))
    assert study.run("collect", "-c", config(n=5)).code == 0
    assert study.run("info", "-c", config()).out.count("× 5 references") == 1
    assert study.run("collect", "-c", config(n=5), "-n", 4).code == 0
    assert study.run("info", "-c", config()).out.count("× 4 references") == 1
    assert study.run("collect", "-c", config(n=5), "-w", study.folder / "third").code == 0
    assert (study.folder / "third" / "collect.h5").exists()


def test_config_section_wins_over_the_top_of_the_file(study, config):
    assert study.run("collect", "-c", config(n=5, collect={"n": 3})).code == 0
    assert "× 3 references" in study.pure("info").out


def test_config_key_without_a_value_says_nothing(study, config):
    answer = study.run("collect", "-c", config(n=None, layer=None, attribute=None))
    assert answer.code == 0, answer.err
    assert "× 100 references" in study.pure("info").out


@pytest.mark.parametrize("neurons", [[1, 3], "1,3", ["1", 3]])
def test_neurons_in_a_config_file(study, config, neurons):
    study.to("collect")
    answer = study.run("attribute", "-c", config(neurons=neurons), "--json")
    assert answer.json["computed"] == 2, answer.err
    assert study.pure("attribute", "--neurons", "1,3", "--json").json["up_to_date"]


def test_run_does_the_stages_and_skips_what_is_up_to_date(study, config):
    first = study.run("run", "-c", config())
    assert first.code == 0, first.err
    told = [line for line in first.out.splitlines() if "✓" in line]
    assert [line.split(":")[0] for line in told] == [f"✓ {stage}" for stage in STAGES]
    second = study.run("run", "-c", config())
    assert second.out.splitlines()[: len(STAGES)] == [f"✓ {stage}: up to date (layer3)" for stage in STAGES]
    for answer in (first, second):  # the table and the paths come last
        table, paths = answer.out.split("layer3, pure features, k = 2")
        assert "neurons of 'layer3' are split" in table and "✓ render" in table
        assert f"render: {study.workspace}/figures" in paths and paths.rstrip().endswith(str(study.workspace))


def test_run_does_anew_what_is_stale_and_only_that(study, config):
    study.run("run", "-c", config())
    assert computed(study.run("run", "-c", config(k=3), "--json")) == [0, 0, 12, 1]
    assert computed(study.run("run", "-c", config(k=3, n=5), "--json")) == [24, 12, 12, 1]
    study.change_weights()
    answer = study.run("run", "-c", config(k=3, n=5), "--json")
    assert computed(answer) == [24, 12, 12, 1]
    assert "the weights changed" in answer.err


def computed(answer) -> list[int]:
    assert answer.code == 0, answer.err
    return [stage["computed"] for stage in answer.json["stages"]]


def test_run_with_several_k_and_features_draws_them_all(study, config):
    answer = study.run("run", "-c", config(k=[2, 3], features=["pure", "activation-max"]), "--json")
    assert computed(answer) == [24, 12, 48, 4]
    names = sorted(path.name for path in study.workspace.rglob("*.png"))
    assert names == [f"neuron-0000-{kind}-k{k}.png" for kind in ("activation-max", "pure") for k in (2, 3)]


def test_run_takes_the_ways_to_run_from_the_command_line(study, config):
    study.run("run", "-c", config())
    assert computed(study.run("run", "-c", config(), "--force", "--device", "cpu", "--json")) == [24, 12, 12, 1]


def test_attribute_computes_only_the_neurons_that_are_not_there(study):
    study.to("collect")
    assert study.pure("attribute", "--neurons", "1,2", "--json").json["computed"] == 2
    answer = study.pure("attribute", "--neurons", "2,3", "--json").json
    assert (answer["computed"], answer["pairs"]) == (1, 6)
    assert study.pure("attribute", "--neurons", "1-3", "--json").json["up_to_date"]
    assert study.pure("attribute", "--neurons", "all", "--json").json["computed"] == 9


def test_attribute_adds_a_second_lower_layer(study):
    study.to("attribute")
    assert study.pure("attribute", "--lower-layer", "layer1", "--neurons", "0-3", "--json").json["computed"] == 4
    assert study.pure("attribute", "--json").json["computed"] == 8  # layer1 for the others
    assert "at layer2, layer1" in study.pure("info").out
    answer = study.pure("cluster", "--features", "pure", "--features", "pure@layer1", "--json")
    assert answer.json["computed"] == 24, answer.err


def test_cluster_computes_only_what_is_not_there(study):
    study.to("attribute")
    assert study.pure("cluster", "--neurons", "0-3", "--json").json["computed"] == 4
    assert study.pure("cluster", "--neurons", "2-5", "--k", "2,3", "--json").json["computed"] == 2 + 4
    assert study.pure("cluster", "--seed", 1, "--neurons", "0-3", "--json").json["computed"] == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_parses(cli, command):
    answer = cli(command, "--help")
    assert answer.code == 0
    (example,) = (line for line in answer.out.splitlines() if "Example: " in line)
    program, name, *arguments = example.split("Example: ")[1].split()
    assert (program, name) == ("pure", command)
    whole(name, registry.COMMANDS[name]).make_context(name, arguments)


def test_help_shows_defaults_and_environment(cli):
    shown = " ".join(cli("collect", "--help").out.split())
    for text in ("[default: 100]", "[default: 0]", "PURE_DATA", "PURE_WORKSPACE"):
        assert text in shown


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("--version",)])
def test_pure_alone_helps(cli, arguments):
    answer = cli(*arguments)
    assert answer.code in (0, 2 if not arguments else 0)
    assert "pure" in answer.out + answer.err


def test_square_brackets_in_names_are_shown(study):
    for stage in STAGES:
        answer = study.run(stage, "-w", study.folder / "a[bold]b", *options(study, stage))
        assert answer.code == 0, answer.err
    assert "a[bold]b" in answer.out
    assert "a[bold]b" in study.run("info", "-w", study.folder / "a[bold]b").out


def test_terminal_that_knows_no_symbols(finished):
    """A terminal in another encoding gets other characters, and no failure."""
    for encoding in ("ascii", "cp1252"):
        done = subprocess.run(
            [sys.executable, "-m", "pure_cli", "cluster", "-w", finished.workspace],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert b"up to date" in done.stdout
