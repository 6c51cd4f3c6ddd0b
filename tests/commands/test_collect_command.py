"""pure collect: layers, presets, a workspace that remembers, and being stopped."""

import os
import signal
import time

import h5py
import numpy as np
import pytest
from PIL import Image
from processes import Running, checkpoint_often, wait_until

SLOW = """

def slow():
    import time
    model = tiny()
    model.layer3.register_forward_hook(lambda *_: time.sleep(0.3))
    return model
"""


def test_second_layer_keeps_the_first(study):
    study.to("collect")
    with h5py.File(study.file("collect")) as file:
        first = {name: data[:] for name, data in file["layers/layer3"].items()}
    answer = study.collect("--layer", "layer2", "--json")
    assert (answer.json["layers"], answer.err.count("replaced")) == (["layer2"], 0)
    with h5py.File(study.file("collect")) as file:
        assert sorted(file["layers"]) == ["layer2", "layer3"]
        for name, data in first.items():
            np.testing.assert_array_equal(file[f"layers/layer3/{name}"][:], data)
    assert study.collect("--layer", "layer3", "--layer", "layer2", "--json").json["up_to_date"]


def test_layer_without_a_model_is_of_the_model_of_the_workspace(study):
    study.to("collect")
    answer = study.pure("collect", "--layer", "layer2", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["layers"] == ["layer2"]
    assert [result["what"] for result in study.pure("info", "--json").json["results"]] == [
        "10 neurons × 6 references",
        "12 neurons × 6 references",
    ]


def test_same_layer_twice_is_one_layer(study):
    answer = study.collect("--layer", "layer2", "--layer", "layer2", "--json")
    assert answer.json["layers"] == ["layer2"]
    assert study.collect("--layer", "layer2", "--layer", "layer2", "--json").json["layers"] == ["layer2"]


def test_references_are_the_images_with_the_highest_maximum(study):
    """Against one image at a time through the whole network."""
    import torch

    from pure_cli.models.load import load_model
    from pure_cli.models.spec import parse_model

    study.to("collect")
    model = load_model(parse_model(study.model), study.weights)
    scores = []
    model.layer3.register_forward_hook(lambda *call: scores.append(call[-1].amax((2, 3))[0].numpy()))
    mean, std = (np.array(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    for path in sorted(study.data.rglob("*.png")):
        pixels = np.asarray(Image.open(path)).transpose(2, 0, 1) / 255
        with torch.no_grad():
            model(torch.from_numpy((pixels - mean) / std).float()[None])
    order = np.argsort(-np.stack(scores), axis=0, kind="stable")[:6].T
    with h5py.File(study.file("collect")) as file:
        fires = file["layers/layer3/value"][:] > 0  # where a neuron is silent, all images are alike
        np.testing.assert_array_equal(file["layers/layer3/image"][:][fires], order[fires])


def test_list_layers_shows_names_shapes_and_defaults(study):
    answer = study.collect("--list-layers", "--crop-size", 32)
    assert answer.code == 0, answer.err
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert "10 × 16 × 16" in lines["layer2"]
    assert "default lower layer" in lines["layer2"]
    assert "12 × 8 × 8" in lines["layer3"]
    assert not study.workspace.exists()


def test_list_layers_marks_those_that_run_twice(study):
    answer = study.pure("collect", "--model", f"{study.model_file}:reused", "--list-layers", "--json")
    calls = {layer["name"]: layer["calls"] for layer in answer.json["layers"]}
    assert calls["relu"] == 2
    assert "relu" in study.pure("collect", "--model", f"{study.model_file}:reused", "--list-layers").out


def test_list_layers_needs_no_images_no_weights_and_no_network(study):
    answer = study.pure("collect", "--model", "resnet18", "--list-layers", "--json")
    assert answer.code == 0, answer.err
    assert (answer.json["default"], answer.json["default_lower"]) == ("layer4", "layer3")
    shapes = {layer["name"]: layer["shape"] for layer in answer.json["layers"]}
    assert shapes["layer4"] == [512, 7, 7]


def test_list_layers_without_a_model_is_of_the_model_of_the_workspace(study):
    study.to("collect")
    assert "layer3" in study.pure("collect", "--list-layers").out


def test_file_name_that_is_no_text(study):
    name = os.fsencode(study.data / "class0") + b"/caf\xe9.png"
    with open(name, "wb") as file:  # noqa: PTH123 (a name in bytes)
        file.write(study.image(0).read_bytes())
    answer = study.collect("-n", 25)
    assert answer.code == 0, answer.err
    assert study.pure("attribute", "--workers", 0).code == 0


def start(study, *options: str) -> Running:
    """A collect that takes seconds, in a process of its own, once it is at work."""
    study.model_file.write_text(study.model_file.read_text() + SLOW)
    words = ["collect", "-w", study.workspace, "--model", f"{study.model_file}:slow", "--data", study.data]
    process = Running(
        [*words, "--batch-size", "1", "--layer", "layer3", *options], study.folder / "logs", checkpoint_often
    )
    wait_until(lambda: (study.workspace / ".partial" / "collect").exists() or process.poll() is not None)
    assert process.poll() is None, process.end().err
    time.sleep(0.2)
    return process


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "Stopped"), (signal.SIGINT, 130, "Interrupted")]
)
def test_stopped_collect_says_so_in_one_line(study, number, code, word, workers):
    process = start(study, "--workers", workers)
    process.send(number)
    ended = process.end()
    assert (ended.code, ended.out) == (code, "")
    *progress, line = ended.err.strip().splitlines()  # progress only where the machine is slow
    assert all(earlier.startswith("collect: ") for earlier in progress)
    assert line.startswith(word)
    assert "the same command goes on from there" in line
    assert not study.file("collect").exists()
