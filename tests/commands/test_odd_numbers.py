"""Broken checkpoints, and data of which there is too little or too much of the same; no warning reaches the user."""

import json
import os
import shutil
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from pure_cli.errors import PureFailure
from pure_cli.models.not_finite import where_not_finite
from pure_cli.stages.references.scores import LayerScores

SILENT = 5  # a neuron of the layer that never fires


def strictly(study, command, *options):
    """A command in which every warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = study.pure(command, *options)
    assert answer.code == 0, answer.err
    return answer


def spoil(study, key, value, where=...):
    """Write a number into a weight of the checkpoint."""
    state = torch.load(study.weights, weights_only=True)
    state[key][where] = value
    torch.save(state, study.weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_broken_checkpoint_is_told_with_the_layer_where_it_begins(study, refused, value):
    spoil(study, "layer2.0.conv2.weight", value)
    answer = study.collect()
    refused(answer, "No image gives the neurons of layer3 activations that are finite")
    assert "begin at 'layer2.0.conv2' (Conv2d), with some in its weight already" in answer.err
    assert not study.file("collect").exists()


def test_one_broken_neuron_is_told_and_the_others_are_as_before(study):
    assert study.collect().code == 0
    before = values(study)
    spoil(study, "layer3.0.shortcut.bias", float("nan"), 3)
    answer = study.collect()
    assert answer.code == 0
    assert "24 images gave activations that are not finite numbers" in answer.err
    assert "begin at 'layer3.0.shortcut'" in answer.err
    others = np.arange(12) != 3
    np.testing.assert_allclose(values(study)[others], before[others], rtol=1e-5)
    with h5py.File(study.file("collect")) as file:
        assert (file["layers/layer3/image"][3] == -1).all()
    for command in ("attribute", "cluster", "render"):
        strictly(study, command, *(("--workers", 0) if command == "attribute" else ()))
    with h5py.File(study.file("attribute")) as file:
        assert np.isfinite(file["layers/layer3/relevance/layer2"][:]).all()


def test_the_layer_is_named_where_another_process_met_the_broken_images(study, refused, monkeypatch):
    spoil(study, "layer3.0.shortcut.bias", float("nan"), 3)
    scored = LayerScores.score

    def fail(self, batch):
        if 12 in batch.index:
            raise PureFailure("The memory of the device is not enough.")
        return scored(self, batch)

    monkeypatch.setattr(LayerScores, "score", fail)
    refused(study.collect("--batch-size", 4), "not enough", code=1)
    monkeypatch.setattr(LayerScores, "score", scored)
    told = study.collect("--batch-size", 4).err
    assert "24 images gave activations that are not finite numbers" in told and "begin at 'layer3.0.shortcut'" in told


def values(study):
    with h5py.File(study.file("collect")) as file:
        return file["layers/layer3/value"][:]


def test_infinite_activations_win_no_place(study):
    spoil(study, "layer3.0.shortcut.bias", float("inf"), 4)
    assert study.collect().code == 0
    assert np.isfinite(values(study)).all()


def test_relevances_that_are_not_finite_are_told_and_not_kept(study, refused):
    """The gradient of every neuron passes the broken filter, which makes it NaN."""
    spoil(study, "layer3.0.conv2.weight", float("nan"), 3)
    study.to("collect")
    refused(study.pure("attribute", "--workers", 0), "The relevances of 'layer3' at 'layer2' are no finite", code=1)
    assert not study.file("attribute").exists()


class Divides(torch.nn.Module):
    """Makes an infinity between its parts, from sound weights."""

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU()

    def forward(self, x):
        return self.last(1 / (self.first(x) * 0).abs())


def test_where_an_infinity_is_made_between_modules_the_module_around_is_named():
    model = torch.nn.Sequential(torch.nn.Identity(), Divides()).eval()
    images = torch.ones(1, 3, 2, 2)
    assert where_not_finite(model, images) == "They begin at '1' (Divides), whose own weights are sound."
    assert where_not_finite(model[0], images) is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def whole_way(study, n=6, k="2", metrics=("labels", "stability")):
    """All stages, each with every warning an error, on a few neurons."""
    strictly(study, "collect", *study.inputs[:-1], n, "--workers", 0)
    strictly(study, "attribute", "--workers", 0, "--neurons", f"0,4,{SILENT}")
    strictly(study, "cluster", "--k", k, "--features", "pure", "--features", "activation-max")
    if metrics:
        strictly(study, "evaluate", *(word for metric in metrics for word in ("--metric", metric)))
    strictly(study, "render", "--neurons", "0", "--crop", "none")


def test_one_reference_each(study, refused):
    whole_way(study, n=1, k="1", metrics=())
    refused(study.pure("cluster", "--k", 2), "--k 2 is more than the 1 reference")


def test_fewer_references_than_clusters_are_refused_and_as_many_are_split(study, refused):
    whole_way(study, n=3, k="3")
    refused(study.pure("cluster", "--k", "2,4"), "--k 4 is more than the 3 references")


def test_one_image_many_times_over(study):
    first = study.image(0)
    for i in range(1, 24):
        shutil.copy(first, study.image(i))
    whole_way(study)


def test_one_grey_image_alone_without_labels(study):
    shutil.rmtree(study.data)
    study.data.mkdir()
    Image.new("L", (32, 32), 128).save(study.data / "grey.png")
    whole_way(study, k="1", metrics=())


def test_relevances_that_are_all_zero(study):
    """The lower layer's activations are all zero, so that nothing at it can be relevant."""
    for name in ("bn2.weight", "bn2.bias", "shortcut.weight", "shortcut.bias"):
        spoil(study, f"layer2.0.{name}", 0.0)
    whole_way(study, k="2,auto", metrics=("labels",))
    with h5py.File(study.file("attribute")) as file:
        assert not file["layers/layer3/relevance/layer2"][:].any()


COMMANDS = """
import json, sys
from pure_cli.app import app
for line in sys.stdin:
    app(json.loads(line), standalone_mode=False)
"""


def test_no_warning_in_a_process_of_their_own_from_the_first_import_on(study):
    spoil(study, "layer3.0.shortcut.bias", float("nan"), 3)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    commands = (["collect", *study.inputs], ["attribute"], ["cluster", "--k", "2,auto"])
    lines = "\n".join(json.dumps([*map(str, command), "-w", str(study.workspace)]) for command in commands)
    words = [sys.executable, "-W", "error", "-c", COMMANDS]
    answer = subprocess.run(words, input=lines, capture_output=True, text=True, env=environment, timeout=120)
    assert answer.returncode == 0 and "Warning" not in answer.stderr, answer.stderr
    assert study.file("cluster").exists()
