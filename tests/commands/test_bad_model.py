"""Models, weights and layers that are wrong: exit code 2 and a sentence that helps."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

DEAD_PROXY = "http://127.0.0.1:9"  # no network, wherever the tests run


def test_unknown_preset_shows_the_nearest(study, refused):
    answer = study.pure("collect", "--model", "resnet5", "--data", study.data)
    refused(answer, "'resnet5'", "'resnet50'", "FILE.py:FUNCTION")


def test_unknown_torchvision_model_shows_the_nearest(study, refused):
    answer = study.pure("collect", "--model", "torchvision:resnet19", "--data", study.data)
    refused(answer, "torchvision model", "'resnet19'", "'resnet18'")


def test_unknown_timm_model_shows_the_nearest(study, refused):
    answer = study.pure("collect", "--model", "timm:resnet19", "--data", study.data)
    refused(answer, "timm model", "'resnet19'", "'resnet18'")


def test_unknown_timm_weights_of_a_known_model_show_those_that_there_are(study, refused):
    answer = study.pure("collect", "--model", "timm:resnet18.a9_in1k", "--data", study.data)
    refused(answer, "'resnet18.a9_in1k'", "'resnet18.a1_in1k'")


def test_missing_model_file(study, refused):
    refused(study.pure("collect", "--model", "nowhere.py:net", "--data", study.data), "nowhere.py", "does not exist")


def test_model_file_without_a_function(study, refused):
    refused(study.pure("collect", "--model", study.model_file, "--data", study.data), f"{study.model_file}:FUNCTION")


def test_missing_function_shows_those_that_there_are(study, refused):
    answer = study.pure("collect", "--model", f"{study.model_file}:tinny", "--data", study.data)
    refused(answer, "'tinny'", "'tiny'", study.model_file)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def net():\n    raise RuntimeError('no luck today')", ("RuntimeError", "no luck today", "--debug")),
        ("def net():\n    return 3", ("int", "torch.nn.Module")),
        ("def net():\n    raise SystemExit(7)", ("SystemExit",)),
        ("def net(width):\n    return width", ("TypeError", "width")),
        ("net = 5", ("'net' in", "is no function, but of type int")),
        ("import nowhere_to_be_found", ("cannot be imported", "nowhere_to_be_found")),
        ("def net(:", ("cannot be imported", "SyntaxError")),
        ("raise SystemExit(7)", ("cannot be imported", "SystemExit")),
    ],
)
def test_model_file_that_fails(study, refused, body, words):
    file = study.folder / "net.py"
    file.write_text(body)
    refused(study.pure("collect", "--model", f"{file}:net", "--data", study.data), file, *words)


def test_what_a_model_file_prints_stays_out_of_the_json(study):
    study.model_file.write_text(study.model_file.read_text() + "\nprint('hello from the file')\n")
    answer = study.collect("--json")
    assert answer.json["stage"] == "collect"
    assert "hello from the file" in answer.err


def test_unknown_layer_shows_the_nearest(study, refused):
    refused(study.collect("--layer", "layr3"), "Unknown layer 'layr3'", "'layer3'", "--list-layers")


def test_layer_that_runs_twice(study, refused):
    answer = study.pure("collect", "--model", f"{study.model_file}:reused", "--data", study.data, "--layer", "relu")
    refused(answer, "'relu'", "2 times", "Choose a layer that runs once")


def test_missing_weights_file(study, refused):
    refused(study.collect("--weights", "nowhere.pth"), "nowhere.pth", "does not exist", ".safetensors")


def test_weights_that_are_a_folder(study, refused):
    refused(study.collect("--weights", study.data), study.data, "is a folder")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all " * 40, bytes(range(256)) * 9])
def test_weights_that_are_none(study, refused, name, content):
    file = study.folder / name
    file.write_bytes(content)
    refused(study.collect("--weights", file), file)


def test_weights_that_are_cut_short(study, refused):
    content = study.weights.read_bytes()
    study.weights.write_bytes(content[: len(content) // 2])
    refused(study.collect(), study.weights)


def test_weights_that_do_not_fit_name_the_keys(study, refused):
    state = torch.load(study.weights, weights_only=True)
    del state["conv1.weight"]
    state["stray"] = torch.zeros(2)
    state["fc.bias"] = torch.zeros(7)
    torch.save(state, study.weights)
    answer = study.collect()
    refused(answer, "1 missing: conv1.weight", "1 not in the model: stray", "1 of another shape: fc.bias (7 for 3)")


def test_weights_without_names(study, refused):
    torch.save([torch.zeros(3)], study.weights)
    refused(study.collect(), study.weights, "no tensors by name", "state_dict()")


class Payload:
    """What a malicious checkpoint would hold."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_weights_with_code_in_them_are_refused_and_the_code_does_not_run(study, refused):
    torch.save({"state_dict": Payload(study.folder / "pwned")}, study.weights)
    refused(study.collect(), study.weights, "state_dict()")
    assert not (study.folder / "pwned").exists()


def without_network(study, *arguments: object) -> tuple[subprocess.CompletedProcess, float]:
    """Run pure as a process that reaches nothing and has downloaded nothing, and time it."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), DEAD_PROXY)
    homes = {"HF_HOME": str(study.folder / "hub"), "TORCH_HOME": str(study.folder / "torch")}
    known = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TORCH_"))}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pure_cli", *map(str, arguments)],
        env={**known, **proxies, **homes},
        capture_output=True,
        text=True,
    )
    return done, time.perf_counter() - start


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("resnet18", "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"),
        ("torchvision:resnet18", "https://download.pytorch.org/models/resnet18-f37072fd.pth"),
    ],
)
def test_weights_that_cannot_be_downloaded_say_what_to_get_and_soon(study, model, address):
    done, seconds = without_network(study, "collect", "--model", model, "--data", study.data, "-w", study.workspace)
    assert done.returncode == 1
    assert done.stdout == ""
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: The weights of ")
    assert address in message
    assert "--weights FILE" in message
    assert "Traceback" not in done.stderr
    assert seconds < 40  # the hub's own retries take 50 and more; without them it is 3 to 9 on an idle machine
