"""Modules that are no plain ones give the references and relevances of the plain one, by file and in Python."""

import runpy
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from pure_cli import Workspace
from pure_cli.errors import PureError
from pure_cli.models.load import load_model
from pure_cli.models.plain import copied
from pure_cli.models.spec import parse_model

NETWORKS = """
import os
import threading

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1), nn.Conv2d(12, 16, 3, 2, 1)
        self.na, self.nb, self.nc = nn.BatchNorm2d(8), nn.BatchNorm2d(12), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.na(self.a(x)))
        x = F.relu(self.nb(self.b(x)))
        x = F.relu(self.nc(self.c(x)))
        return self.head(x.mean((2, 3)))


def plain(kind=Net):
    torch.manual_seed(0)
    model = kind()
    for norm in (model.na, model.nb, model.nc):
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 2)
    return model


def with_weights_of(model):
    '''A plain network with the weights that the convolutions of another one compute with.'''
    model.eval()(torch.zeros(1, 3, 32, 32))
    found = plain()
    for name in "abc":
        getattr(found, name).weight.data = getattr(model, name).weight.detach().clone()
    return found


def changed(change):
    model = plain()
    for name in "abc":
        setattr(model, name, change(getattr(model, name)))
    return model


def weight_normed():
    return changed(weight_norm)


def spectral_normed():
    return changed(spectral_norm)


def pruned():
    return changed(lambda conv: prune.l1_unstructured(conv, "weight", amount=0.5))


def pruned_twice():
    twice = lambda conv: prune.random_unstructured(prune.l1_unstructured(conv, "weight", amount=0.3), "weight", 0.2)
    return changed(twice)


def weight_parametrized():
    return changed(parametrizations.weight_norm)


def spectral_parametrized():
    return changed(parametrizations.spectral_norm)


def standardised():
    def change(conv):
        raw = conv.weight
        del conv.weight
        conv.register_parameter("raw", raw)
        conv.weight = raw.detach()
        conv.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.raw - module.raw.mean()))
        return conv

    return changed(change)


class Keeping(Net):
    kept, seen = {}, 0

    def forward(self, x):
        self.image = x
        x = self.first = F.relu(self.na(self.a(x)))
        x = self.second = F.relu(self.nb(self.b(x)))
        self.features.append(x)
        self.cache["second"] = x
        return self.head(F.relu(self.nc(self.c(x))).mean((2, 3)))

    def __init__(self):
        super().__init__()
        self.features, self.cache = [], {}


def keeping():
    return plain(Keeping)


def used_before():
    model = plain(Keeping)
    model.eval()(torch.zeros(2, 3, 32, 32)).sum().backward()
    return model


def hooked():
    model = plain()
    model.b.register_forward_hook(lambda module, inputs, output: setattr(module, "output", output))
    model(torch.zeros(2, 3, 32, 32))
    return plain_statistics(model)


def plain_statistics(model):
    model.load_state_dict(plain().state_dict())
    return model


def compiled():
    return torch.compile(plain())


def compiled_in_place():
    model = plain()
    model.compile()
    return model


def compiled_part():
    model = plain()
    model.b = torch.compile(model.b)
    return model


class CompiledForward(Net):
    @torch.compile
    def forward(self, x):
        return super().forward(x)


class CompiledParts(Net):
    def __init__(self):
        super().__init__()
        self.act = torch.compile(F.relu)
        self.lock, self.log = threading.Lock(), open(os.devnull, "w")

    @torch.compile
    def last(self, x):
        return self.head(x.mean((2, 3)))

    def forward(self, x):
        with self.lock:
            return self.last(self.act(self.nc(self.c(self.act(self.nb(self.b(self.act(self.na(self.a(x))))))))))


def compiled_parts_and_a_lock():
    return plain(CompiledParts)


def compiled_forward():
    return plain(CompiledForward)


def parallel():
    return nn.DataParallel(plain())


def averaged():
    return torch.optim.swa_utils.AveragedModel(plain())


def double():
    return plain().double()


def half():
    return plain().half()


def plain_half():
    return plain().half().float()


def halfway():
    model = plain()
    model.b.bfloat16()
    return model


def plain_halfway():
    model = plain()
    model.b.bfloat16().float()
    return model


class Extra(Net):
    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        assert state == {"version": 2}


def extra():
    return plain(Extra)


class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.b, self.nb = nn.LazyConv2d(12, 3, 2, 1), nn.LazyBatchNorm2d()


def lazy():
    torch.manual_seed(0)
    return Lazy()


def plain_lazy():
    torch.manual_seed(0)
    model = Lazy()
    model.eval()(torch.zeros(1, 3, 224, 224))
    return model


instance = plain()


def scripted():
    return torch.jit.script(plain().eval())


def traced():
    return torch.jit.trace(plain().eval(), torch.zeros(1, 3, 32, 32))


def scripted_part():
    model = plain()
    model.b = torch.jit.script(model.b)
    return model


def meta():
    with torch.device("meta"):
        return Net()


def exported():
    return torch.export.export(plain().eval(), (torch.zeros(1, 3, 32, 32),))


def exported_module():
    return exported().module()


def quantised():
    return torch.ao.quantization.quantize_dynamic(plain().eval(), {nn.Linear})


def weights():
    return plain().state_dict()


def pair():
    return plain(), None


class FullyShardedDataParallel(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = plain()


def sharded():
    return FullyShardedDataParallel()


def ready_made():
    return torch.zeros(3)
"""

MADE_BY_HOOKS = ["weight_normed", "spectral_normed", "pruned", "pruned_twice", "weight_parametrized",
                 "spectral_parametrized", "standardised"]  # fmt: skip
EQUAL = ["keeping", "used_before", "hooked", "compiled", "compiled_in_place", "compiled_part", "compiled_forward",
         "compiled_parts_and_a_lock", "parallel", "averaged", "double", "extra", "instance"]  # fmt: skip
SAME = {  # kind to the plain one that it is equal to
    **{kind: f"plain_{kind}" for kind in [*MADE_BY_HOOKS, "half", "halfway", "lazy"]},
    **dict.fromkeys(EQUAL, "plain"),
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("networks") / "net.py"
    wanted = "".join(f"\n\ndef plain_{kind}():\n    return with_weights_of({kind}())\n" for kind in MADE_BY_HOOKS)
    file.write_text(NETWORKS + wanted)
    return file


def made(networks: Path, name: str):
    found = runpy.run_path(str(networks))[name]
    return found if isinstance(found, nn.Module) else found()


def results(workspace: Workspace) -> dict[str, np.ndarray]:
    with h5py.File(workspace.path / "attribute.h5") as file:
        relevance = {f"{rule}": file["layers/nc/relevance/nb"][()] for rule in ("relevance",)}
    return {**workspace.references("nc"), **relevance}


def worked(workspace: Workspace, rules: list[str], **options) -> list[dict[str, np.ndarray]]:
    workspace.collect(n=6, workers=0, layer="nc", **options)
    found = []
    for rule in rules:
        workspace.attribute(workers=0, lower_layer="nb", rule=rule)
        found.append(results(workspace))
    return found


@pytest.fixture(scope="module")
def expected(networks, images, tmp_path_factory):
    known: dict[tuple[str, str], dict[str, np.ndarray]] = {}

    def of(name: str, rules: list[str]) -> list[dict[str, np.ndarray]]:
        if any((name, rule) not in known for rule in rules):
            workspace = Workspace(tmp_path_factory.mktemp("plain"))
            found = worked(workspace, rules, data=images, model=f"{networks}:{name}")
            known.update(zip([(name, rule) for rule in rules], found, strict=True))
        return [known[name, rule] for rule in rules]

    return of


@pytest.mark.parametrize(
    ("kind", "way"), [(kind, way) for kind in SAME for way in ("file", "python") if (kind, way) != ("lazy", "python")]
)
def test_what_is_no_plain_module_gives_the_results_of_the_plain_one(kind, way, networks, images, tmp_path, expected):
    rules = ["gradient-x-input", "epsilon-plus"] if kind in MADE_BY_HOOKS[:-1] else ["gradient-x-input"]
    if way == "file":
        found = worked(Workspace(tmp_path), rules, data=images, model=f"{networks}:{kind}")
    else:
        found = worked(Workspace(tmp_path, model=made(networks, kind)), rules, data=images)
    for one, other in zip(found, expected(SAME[kind], rules), strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        for name in ("value", "relevance"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("way", ["file", "python"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("scripted", r"TorchScript.*Return the module that it was made from"),
        ("traced", "TorchScript"),
        ("scripted_part", "module 'b' of .*TorchScript"),
        ("meta", "without weights: 'a.weight' is on the meta device"),
        ("exported", "ExportedProgram"),
        ("exported_module", "torch.export"),
        ("quantised", "module 'head' of .* quantised"),
        ("sharded", "FSDP"),
        ("weights", "of weights.*build the network"),
        ("pair", "tuple.*return its item 0"),
        ("ready_made", "Tensor, and a torch.nn.Module is needed"),
    ],
)
def test_what_cannot_be_looked_into_is_refused_in_a_sentence(kind, says, way, networks, images, tmp_path):
    with pytest.raises(PureError, match=says):
        if way == "file":
            Workspace(tmp_path).collect(model=f"{networks}:{kind}", data=images, n=2, workers=0)
        else:
            Workspace(tmp_path, model=made(networks, kind))


@pytest.mark.parametrize(
    "kind", ["weight_normed", "spectral_parametrized", "pruned", "lazy", "half", "compiled_in_place"]
)
def test_a_module_that_is_handed_over_stays_as_it_is(kind, networks, images, tmp_path):
    model = made(networks, kind).train()
    names, hooks, kinds = list(model.state_dict()), list(model.a._forward_pre_hooks), list(map(type, model.modules()))
    numbers = model.a.weight.dtype
    worked(Workspace(tmp_path, model=model), ["gradient-x-input"], data=images)
    assert model.training and list(model.state_dict()) == names and list(model.a._forward_pre_hooks) == hooks
    assert list(map(type, model.modules())) == kinds and model.a.weight.dtype == numbers
    assert (model._compiled_call_impl is None) == (kind != "compiled_in_place")


def test_rules_do_not_pass_over_weights_that_a_hook_makes(networks, images, tmp_path):
    workspace = Workspace(tmp_path)
    workspace.collect(model=f"{networks}:standardised", data=images, n=2, layer="nc", workers=0)
    with pytest.raises(PureError, match="weight of 'a' is made anew at each pass"):
        workspace.attribute(lower_layer="nb", workers=0, rule="epsilon-plus")


def test_a_network_that_was_used_in_between_is_the_same_one(networks, images, tmp_path):
    model = made(networks, "keeping")
    workspace = Workspace(tmp_path, model=model)
    workspace.collect(data=images, n=4, layer="nc", workers=0)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            model.eval()(torch.rand(2, 3, 32, 32))
        workspace.attribute(neurons="0", lower_layer="nb", workers=0, force=True)


def test_a_list_to_which_each_pass_appends_does_not_grow(networks):
    model = load_model(parse_model(f"{networks}:keeping"))
    for _ in range(5):
        model(torch.zeros(2, 3, 32, 32))
    assert len(model.features) <= 2


def test_a_copy_of_what_was_computed_has_no_graph():
    model = nn.Linear(2, 2)
    model.kept = [model(torch.ones(1, 2))]
    with torch.inference_mode():
        model.other = model(torch.ones(1, 2))
    copy = copied(model)
    assert torch.equal(copy.kept[0], model.kept[0]) and not copy.kept[0].requires_grad
    assert not copy.other.is_inference() and torch.equal(copy.other, model.other)
    assert model.kept[0].requires_grad


@pytest.mark.parametrize(
    ("kind", "says"), [("half", ["float16", "float32"]), ("halfway", ["bfloat16"]), ("double", ["float64"])]
)
def test_other_kinds_of_numbers_are_told(kind, says, networks, images, tmp_path):
    outcome = Workspace(tmp_path).collect(model=f"{networks}:{kind}", data=images, n=2, workers=0)
    (note,) = [note for note in outcome.notes if "parameters are" in note]
    assert all(word in note for word in says)


def test_lazy_parameters_of_a_module_in_python_are_told(networks, images, tmp_path):
    workspace = Workspace(tmp_path, model=made(networks, "lazy"))
    outcome = workspace.collect(data=images, n=2, layer="nc", workers=0)
    assert any("random" in note and "b.weight" in note for note in outcome.notes)
    workspace.attribute(lower_layer="nb", workers=0)  # made anew, with the same numbers


def test_the_names_of_a_compiled_network_are_understood(networks, images, tmp_path):
    workspace = Workspace(tmp_path)
    workspace.collect(model=f"{networks}:compiled", data=images, n=2, layer="_orig_mod.nc", workers=0)
    workspace.attribute(layer="_orig_mod.nc", lower_layer="_orig_mod.nb", workers=0)
    assert list(workspace.info()["results"][0]["layer"]) == list("nc")
