"""Weights come out of what checkpoints wrap them in, by the names of the model; what was chosen is told."""

import pytest
import torch
from torch import nn

from pure_cli import Workspace
from pure_cli.errors import PureError
from pure_cli.models.spec import weights_fingerprint
from pure_cli.models.weights import load_weights, read_weights


class Wrapped(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


STATE = network().state_dict()
OTHER = network().state_dict()


def named(front: str, state=STATE) -> dict:
    return {front + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        named("module."),
        named("_orig_mod."),
        named("module._orig_mod."),
        named("_orig_mod.module."),
        named("model."),
        named("ema_model.module."),
        {"model_ema": STATE},
        {"state_dict_ema": named("module.")},
        {"models": {"generator": STATE}, "epoch": 3},
        {"optimizer": {"state": {0: {"step": torch.zeros(1)}}}, "net": STATE},
        {"n_averaged": torch.tensor(3), **named("module.")},
        {"state_dict": {**named("model."), "loss.weight": torch.ones(3)}},
        {f"{name.replace('.', '._orig_mod.')}": value for name, value in STATE.items()},
        {"model": OTHER["0.weight"], "inner": STATE},
    ],
)
def test_weights_are_found_in_their_wrapping(content, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    model = network()
    load_weights(model, tmp_path / "w.pt")
    assert all(torch.equal(value, STATE[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("content", "taken", "words", "other"),
    [
        ({"model_ema": OTHER, "model": STATE}, STATE, "'model'", "model_ema"),
        ({"state_dict": STATE, "state_dict_ema": named("module.", OTHER)}, STATE, "'state_dict'", "state_dict_ema"),
        ({**named("student."), **named("teacher.", OTHER)}, STATE, "'student'", "teacher"),
        ({"step": 3, "ema": {"weights": OTHER}, "a": STATE}, OTHER, "'ema.weights'", "a"),
    ],
)
def test_of_several_weights_one_is_taken_and_the_other_can_be(content, taken, words, other, tmp_path):
    file = tmp_path / "w.pt"
    torch.save(content, file)
    model = network()
    notes = load_weights(model, file)
    assert torch.equal(model[0].weight, taken["0.weight"])
    assert words in notes[-1] and f"--weights {file}#{other}" in notes[-1]
    load_weights(model, tmp_path / f"w.pt#{other}")
    rest = OTHER if taken is STATE else STATE
    assert all(torch.equal(value, rest[name]) for name, value in model.state_dict().items())


def test_what_was_taken_off_or_left_out_is_told(tmp_path):
    file = tmp_path / "w.pt"
    torch.save({**named("model."), "loss.weight": torch.ones(3)}, file)
    (note,) = load_weights(network(), file)
    assert "'model.' was taken off" in note and "loss.weight" in note
    torch.save(named("module."), file)
    assert load_weights(network(), file) == []


def test_weights_of_a_part_of_the_model_that_is_all_of_it(tmp_path):
    torch.save(STATE, tmp_path / "w.pt")
    model = Wrapped(network())
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.net[0].weight, STATE["0.weight"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (named("part.", {"0.weight": STATE["0.weight"]}), "7 missing: 0.bias, 1.weight"),
        ({"model": {**STATE, "more": torch.ones(1)}}, "1 not in the model: more"),
        ({**STATE, "0.weight": torch.ones(2)}, "1 of another shape: 0.weight"),
        ({"epoch": 3}, "no tensors by name"),
    ],
)
def test_what_does_not_fit_is_listed(content, says, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(PureError, match=says):
        load_weights(network(), tmp_path / "w.pt")


def test_a_key_that_is_not_there_is_an_error(tmp_path):
    torch.save({"model": STATE, "model_ema": OTHER}, tmp_path / "w.pt")
    with pytest.raises(PureError, match=r"model_em.*model_ema"):
        load_weights(network(), tmp_path / "w.pt#model_em")


def test_what_a_module_keeps_that_is_no_tensor_is_loaded(tmp_path):
    class Extra(nn.Linear):
        version = 1

        def get_extra_state(self):
            return {"version": self.version}

        def set_extra_state(self, state):
            self.version = state["version"]

    saved, model = Extra(2, 2), Extra(2, 2)
    saved.version = 5
    torch.save({"state_dict": saved.state_dict()}, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert model.version == 5 and torch.equal(model.weight, saved.weight)


def test_weights_behind_a_key_are_other_weights(model_file, tiny, images, tmp_path):
    file = tmp_path / "w.pt"
    torch.save({"model": tiny.state_dict(), "ema": {k: v * 2 for k, v in tiny.state_dict().items()}}, file)
    assert weights_fingerprint(file) != weights_fingerprint(f"{file}#ema")
    workspace = Workspace(tmp_path / "w")
    options = {"model": f"{model_file}:tiny", "data": images, "n": 2, "workers": 0}
    first = workspace.collect(weights=f"{file}#model", **options)
    assert workspace.collect(weights=f"{file}#model", **options).up_to_date
    workspace.attribute(neurons="0", workers=0)
    again = workspace.collect(weights=f"{file}#ema", **options)
    assert not first.up_to_date and any("weights changed" in note for note in again.notes)
    workspace.attribute(neurons="0", workers=0)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_git_lfs_pointer_is_told(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n")
    with pytest.raises(PureError, match=r"is a Git LFS pointer and no weights\. Run 'git lfs pull'"):
        read_weights(tmp_path / name)
