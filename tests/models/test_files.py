"""Model files find what lies beside them, whenever it is imported."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pure_cli.errors import PureError
from pure_cli.models.load import load_model
from pure_cli.models.spec import parse_model

BLOCK = "from torch import nn\n\ndef block():\n    return nn.Conv2d(3, {width}, 3)\n"
NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        from {module} import block

        return block()(x)


def network():
    from {module} import block

    return block()


def net():
    return Net()
"""


def beside(folder: Path, module: str, helper: str, width: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{helper}.py").write_text(BLOCK.format(width=width))
    (folder / "net.py").write_text(NET.format(module=module))
    return folder / "net.py"


def loaded(file: Path, function: str) -> torch.nn.Module:
    return load_model(parse_model(f"{file}:{function}"))


@pytest.mark.parametrize("function", ["network", "net"])
def test_neighbours_are_found_inside_of_functions_and_when_the_network_runs(function, tmp_path):
    model = loaded(beside(tmp_path, f"beside_{function}", f"beside_{function}"), function)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


@pytest.mark.parametrize("function", ["network", "net"])
def test_relative_imports_work_in_a_package(function, tmp_path):
    folder = tmp_path / f"outer_{function}" / "inner"
    file = beside(folder, ".blocks", "blocks")
    for package in (folder, folder.parent):
        (package / "__init__.py").write_text("")
    (folder / "__init__.py").write_text("from .net import network\n")
    assert loaded(file, function)(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_neighbours_of_one_name_are_each_those_of_their_own_folder(tmp_path):
    files = [beside(tmp_path / f"of_{width}", "twins", "twins", width) for width in (4, 6, 4)]
    assert [loaded(file, "network").out_channels for file in files] == [4, 6, 4]


def test_a_neighbour_named_like_a_module_of_python_does_not_stand_in_for_it_later(tmp_path):
    beside(tmp_path, "neighbour", "neighbour")
    (tmp_path / "sched.py").write_text("raise RuntimeError('not the one of Python')\n")
    program = (
        "from pure_cli.models.load import load_model; from pure_cli.models.spec import parse_model\n"
        f"load_model(parse_model({str(tmp_path / 'net.py')!r} + ':network')); import sched; print(sched.scheduler)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "sched.scheduler" in done.stdout, done.stderr


def test_a_module_itself_is_a_model_and_stays_as_the_neighbour_made_it(tmp_path):
    (tmp_path / "ready.py").write_text("from torch import nn\nmodel = nn.Linear(3, 2)\n")
    (tmp_path / "net.py").write_text("from ready import model\n")
    found = loaded(tmp_path / "net.py", "model")
    assert not found.training and sys.modules["ready"].model.training
    assert sys.modules["ready"].model.weight.requires_grad


def test_a_function_that_is_not_there_is_told_from_those_that_are(tmp_path):
    file = beside(tmp_path, "near", "near")
    with pytest.raises(PureError, match="Did you mean 'network'"):
        loaded(file, "netwrk")
