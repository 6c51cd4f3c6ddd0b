"""What can be added is found by name; what is broken or there twice is named, and harms nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_contributing import install

from pure_cli.errors import PureError
from pure_cli.registry import COMMANDS, EMBEDDERS, METRICS, RULES, SOURCES, STAGES, TRANSFORMS, Registry

ROOT = Path(__file__).parents[1]
ALL = (TRANSFORMS, RULES, METRICS, EMBEDDERS, SOURCES, STAGES, COMMANDS)
HEAVY = ("torch", "zennit", "sklearn", "scipy.special", "open_clip", "timm", "matplotlib", "umap")
LISTS = f"""
import json, sys
from pure_cli import registry
from pure_cli.app import app
every = [getattr(registry, name) for name in {[kind.group[5:].upper() for kind in ALL]}]
listed = {{kind.kind: kind.listed() for kind in every}}
help_needs = [name for name in ("importlib.metadata", "numpy", "pydantic", "yaml") if name in sys.modules]
from pure_cli.config import make
for name in registry.RULES:
    make("attribute", {{"rule": name}}).how
for kind in every:
    list(kind.values())
print(json.dumps([listed, help_needs, [name for name in {HEAVY} if name in sys.modules]]))
"""


def run(*words: str, site: Path | None = None) -> subprocess.CompletedProcess:
    paths = [ROOT, *([site] if site else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)


def test_names_are_listed_without_importing_what_has_them():
    done = run("-c", LISTS)
    assert done.returncode == 0, done.stderr
    listed, help_needs, heavy = json.loads(done.stdout)
    assert "epsilon (LRP-ε at every linear layer)" in listed["rule"]
    assert help_needs == []
    assert heavy == [], "for settings, names of embedders and up-to-date stages"


@pytest.mark.parametrize("registry", ALL, ids=lambda registry: registry.kind)
def test_every_name_has_a_thing_and_a_summary(registry):
    assert len(registry) >= 3
    for name in registry:
        assert registry[name] is not None
        assert registry.summary(name)


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(PureError, match=r"Unknown rule 'epsilon-pluss'\. Did you mean 'epsilon-plus'"):
        RULES["epsilon-pluss"]


def test_files_that_declare_nothing_are_no_things():
    assert {"study", "written", "sample", "metric"}.isdisjoint(METRICS)
    assert {"common", "options", "command"}.isdisjoint(COMMANDS)


BROKEN = """
[project.entry-points."pure.metrics"]
broken = "no_such_module:METRIC"
labels = "no_such_module:METRIC"
odd = "json"
fought-over = "json:dumps"

[project.entry-points."pure.commands"]
broken = "no_such_module:COMMAND"
"""
ASK = """
import json
from typer.testing import CliRunner
from pure_cli.app import app
from pure_cli.registry import METRICS

def ask(*words):
    answer = CliRunner().invoke(app, words)
    return answer.exit_code, answer.stdout, answer.stderr

def refusal(name):
    try:
        METRICS[name]
    except Exception as error:
        return f"{type(error).__name__}: {error}"

print(json.dumps([ask("--help"), ask("evaluate", "--help"), ask("broken", "--any", "thing"), ask("info", "-w", "none"),
    [refusal(name) for name in ("broken", "odd", "labels", "fought-over", "stability")]]))
"""


def test_what_is_broken_or_twice_is_named_and_harms_nothing_else(tmp_path):
    install(tmp_path, "their-package", BROKEN)
    install(tmp_path, "another-package", '[project.entry-points."pure.metrics"]\nfought-over = "json:loads"\n')
    done = run("-c", ASK, site=tmp_path)
    assert done.returncode == 0, done.stderr
    help_, of_evaluate, broken, info, (missing, odd, twice, fought_over, stability) = json.loads(done.stdout)
    assert help_[0] == of_evaluate[0] == 0
    assert "cannot be loaded" in help_[1] and "evaluate" in help_[1] and "broken" in of_evaluate[1]
    why = "(no_such_module:COMMAND) cannot be loaded (No module named 'no_such_module'). Mend or uninstall the package "
    assert broken == [2, "", f"Error: The command 'broken' {why}that it comes with, their-package.\n"]
    assert "cannot be loaded" not in info[2]
    assert missing.startswith(
        "PureError: The metric 'broken' (no_such_module:METRIC) cannot be loaded (No module named"
    )
    assert odd.startswith("PureError: The metric 'odd' (json) cannot be loaded (") and "their-package" in odd
    assert twice == "PureError: The metric 'labels' is in pure-cli and their-package. Uninstall one of them."
    assert "'fought-over' is in another-package and their-package. Uninstall one" in fought_over
    assert stability is None


def test_a_registry_without_a_folder_is_empty():
    assert list(Registry("thing", "nowhere", "things", "THING", "json:JSONDecoder")) == []
