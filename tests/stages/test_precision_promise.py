"""--precision is a promise: what torch's switches are while a stage runs, afterwards, and what is kept of it."""

import shutil
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_assign import TwoPaths, paint, to_tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from pure_cli import PureError, Workspace, config
from pure_cli.artifacts import read_collected, read_seen, write_collected
from pure_cli.registry import STAGES
from pure_cli.settings.run import RunSettings
from pure_cli.settings.shared import Computing
from pure_cli.stages.runtime import arithmetic
from pure_cli.stages.runtime.arithmetic import arithmetic_of

CALM = {"workers": 0, "device": "cpu"}
ELSEWHERE = "The references of 'upper' were collected on cuda; this runs on cpu, which rounds in another way."
RUNNING = [name for name in config.stage_names() if issubclass(STAGES[name].settings, Computing)]


def switches() -> dict:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    found = {
        "matmul": torch.get_float32_matmul_precision(),
        "tf32": (matmul.allow_tf32, cudnn.allow_tf32),
        "sums": (matmul.allow_fp16_reduced_precision_reduction, matmul.allow_bf16_reduced_precision_reduction),
    }
    if hasattr(torch.backends, "fp32_precision"):
        mkldnn = torch.backends.mkldnn
        parts = (matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
        found["parts"] = tuple(part.fp32_precision for part in (torch.backends, *parts))
    return found


def inside(tf32: bool) -> dict:
    """What they have to be while a stage runs."""
    found = {"matmul": "high" if tf32 else "highest", "tf32": (tf32, tf32), "sums": (False, False)}
    if hasattr(torch.backends, "fp32_precision"):
        found["parts"] = ("ieee", *["tf32" if tf32 else "ieee"] * 3, "ieee", "ieee", "ieee")
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with virtual neurons."""
    folder = tmp_path_factory.mktemp("precision")
    study = Workspace(folder / "w", model=TwoPaths(), transform=to_tensor)
    study.collect(data=paint(folder / "seen", 0), layer="upper", references=30, **CALM)
    study.attribute(lower_layer="lower", **CALM)
    study.cluster(k=[2])
    return study


@pytest.fixture
def study(made, tmp_path):
    """A copy of it, to change."""
    shutil.copytree(made.path, tmp_path / "w")
    return Workspace(tmp_path / "w", model=TwoPaths(), transform=to_tensor)


@pytest.fixture
def seen():
    """The switches, whenever the network runs."""
    found = []
    hook = register_module_forward_pre_hook(
        lambda module, _: found.append(switches()) if isinstance(module, TwoPaths) else None
    )
    yield found
    hook.remove()


@pytest.fixture
def careless():
    """A caller whose torch is fast and rough."""
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True
    yield switches()
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")


@pytest.fixture
def no_maps(monkeypatch):
    """Figures without UMAP, which takes its time."""
    monkeypatch.setattr("pure_cli.core.projection.project", lambda features, *_: np.zeros((len(features), 2)))


def labelled(study, **more):
    study.embed(embedder="clip-image:demo-digits", crop="none", neurons=0, **CALM)
    return study.label(sample=24, **more)


WAYS = {
    "collect": lambda study, **more: study.collect(force=True, **more),
    "directions": lambda study, **more: study.directions("pca", components=1, **more),
    "calibrate": lambda study, **more: study.calibrate(budget=0.05, **more),
    "attribute": lambda study, **more: study.attribute(force=True, **more),
    "embed": lambda study, **more: study.embed(embedder="pixels", neurons=0, **more),
    "render": lambda study, workers, **more: study.render(neurons=0, images=1, **more),
    "assign": lambda study, **more: study.assign(neurons=0, per_quantile=1, figures=0, **more),
    "label": lambda study, **more: labelled(study, **more),
    "evaluate": lambda study, **more: study.evaluate(metric="outputs", neurons=0, k=2, **more),
    "audit": lambda study, **more: study.audit("red", sample=4, count=1, **more),
    "edit": lambda study, **more: study.effects(silence="upper/0.1", limit=4, **more),
    "compare": lambda study, **more: study.compare(study, layer="upper", by="activations", sample=4, **more),
    "freeze": lambda study, **more: study.freeze(budget=0.05, **more),
    "atlas": lambda study, **more: study.atlas(neurons=0, **more),
}


def test_every_stage_that_runs_the_network_is_asked():
    assert list(WAYS) == RUNNING


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize("stage", RUNNING)
def test_the_network_runs_in_it_and_the_caller_finds_his_own(study, seen, careless, no_maps, stage, precision):
    with suppress(PureError):  # calibrate finds too few images, once it has looked at them
        outcome = WAYS[stage](study, precision=precision, **CALM)
        on_cpu = [note for note in outcome.notes if "computes in float32 on this cpu" in note]
        assert len(on_cpu) == (precision == "tf32")
    assert seen and all(one == inside(precision == "tf32") for one in seen)
    assert switches() == careless
    assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.benchmark


@pytest.mark.parametrize("ways", [{"metric": "causal"}, {"metric": "faithfulness"}])
def test_metrics_that_cut_channels_out(study, seen, careless, ways):
    study.evaluate(neurons=0, k=2, **ways, **CALM)
    assert seen and all(one == inside(False) for one in seen)


def test_graphs_of_circuits_and_their_method(study, seen, careless):
    study.circuit("upper/0.1", through=["lower"], device="cpu")
    assert seen and all(one == inside(False) for one in seen)
    assert switches() == careless


@pytest.mark.parametrize("stage", ["collect", "attribute", "embed"])
def test_the_caller_finds_his_own_where_a_stage_fails(study, seen, careless, monkeypatch, stage):
    monkeypatch.setattr("pure_cli.stages.runtime.batches.AdaptiveBatches.each", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        WAYS[stage](study, **CALM)
    assert seen[-1] == inside(False)
    assert switches() == careless


def test_a_module_in_python_runs_as_its_caller_says(study, seen, careless):
    study.virtual("upper", 0, device="cpu")(torch.rand(1, 3, 8, 8))
    assert seen and all(one == careless for one in seen)


def test_what_a_gpu_is_told_is_put_back(monkeypatch, careless):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    settings = config.make("directions", {"how": "pca", "deterministic": False, "precision": "tf32"})
    with arithmetic_of(settings) as running:
        monkeypatch.setattr("pure_cli.models.load.find_devices", lambda names: [torch.device(names)])
        arithmetic.open_devices("cuda")
        assert switches() == inside(True) and not torch.are_deterministic_algorithms_enabled()
    assert switches() == careless and torch.are_deterministic_algorithms_enabled()
    assert not running.notes


def test_results_in_tf32_are_results_of_their_own(study, no_maps):
    usual = {name: layer.provenance for name, layer in read_collected(study.store).layers.items()}
    assert all("precision" not in one.settings for one in usual.values())
    outcome = study.collect(precision="tf32", **CALM)
    assert any("the precision (--precision) changed" in note for note in outcome.notes)
    assert study.collect(**CALM).up_to_date  # with the options of the workspace
    assert read_collected(study.store).layers["upper"].provenance != usual["upper"]
    study.attribute(lower_layer="lower", precision="tf32", **CALM)
    assert study.attribute(lower_layer="lower", precision="tf32", **CALM).up_to_date
    study.cluster(k=[2])
    for stage in ("embed", "assign", "evaluate", "audit", "render", "directions"):
        assert not WAYS[stage](study, precision="tf32", **CALM).up_to_date
        assert WAYS[stage](study, precision="tf32", **CALM).up_to_date, stage
        assert not WAYS[stage](study, **CALM).up_to_date, stage
        assert not WAYS[stage](study, precision="tf32", **CALM).up_to_date or stage == "evaluate"  # kept beside
    told = {one["stage"]: one["what"] for one in study.info()["results"]}
    for stage in ("collect", "attribute", "embed", "assign", "audit"):
        assert told[stage].endswith(", in tf32")
    assert "in tf32" in told["evaluate"]
    note = study.evaluate(metric="outputs", neurons=0, k=2, precision="tf32", **CALM).details["tables"][0]["note"]
    assert note.endswith(
        "Not in float32: references in tf32, relevances in tf32, embeddings in tf32, measured in tf32."
    )
    assert study.collect(precision="float32", **CALM).computed
    assert read_collected(study.store).layers["upper"].provenance == usual["upper"]


def test_figures_say_in_what_they_were_computed(study, no_maps, monkeypatch):
    subtitles = []
    from pure_cli.views import neuron

    draw = neuron.draw
    monkeypatch.setattr(neuron, "draw", lambda picture: subtitles.append(picture.subtitle) or draw(picture))
    WAYS["render"](study, **CALM)
    WAYS["render"](study, precision="tf32", **CALM)
    study.attribute(lower_layer="lower", precision="bfloat16", **CALM)
    study.cluster(k=[2])
    WAYS["render"](study, **CALM)
    assert [text.removeprefix(subtitles[0]) for text in subtitles] == [
        "",
        " · heatmaps in tf32",
        " · relevances in bfloat16",
    ]


@pytest.mark.parametrize("stage", [*RUNNING, "run"])
def test_bfloat16_is_for_attribute_alone(stage):
    settings = STAGES[stage].settings if stage in STAGES else RunSettings
    needed = {"collect": {"model": "m.py:f", "data": "."}, "directions": {"how": "pca"}, "evaluate": {"metric": "ms"}}
    options = {"precision": "bfloat16", **needed.get(stage, {})}
    if stage == "attribute":
        assert settings(**options).precision == "bfloat16"
    else:
        with pytest.raises(PureError, match="bfloat16 is for `pure attribute`"):
            settings(**options)


def test_a_precision_that_nothing_needs_is_told(study):
    (note,) = study.evaluate(metric="labels", neurons=0, k=2, precision="tf32", **CALM).notes
    assert note == "No network was run, so --precision tf32 changed nothing."
    assert not study.evaluate(metric="labels", neurons=0, k=2, **CALM).computed


def collected_on(study, devices):
    """Say that the references were collected on other devices."""
    found = read_collected(study.store)
    layers = {name: replace(layer, device=devices[name]) for name, layer in found.layers.items()}
    write_collected(study.store, replace(found, layers=layers), list(read_seen(study.store)))


def test_a_workspace_goes_on_on_another_device_and_says_so(study):
    assert read_collected(study.store).layers["upper"].device == "cpu"
    assert not study.attribute(force=True, **CALM).notes
    collected_on(study, {"upper": "cuda"})
    assert {one["status"] for one in study.info()["results"]} == {"up to date"}
    assert not study.attribute(**CALM).notes  # nothing runs
    for stage in ("attribute", "embed", "assign", "edit"):
        assert WAYS[stage](study, **CALM).notes.count(ELSEWHERE) == 1
    assert study.collect(layer="lower", **CALM).notes.count(ELSEWHERE) == 1
    devices = {name: layer.device for name, layer in read_collected(study.store).layers.items()}
    assert devices == {"upper": "cuda", "lower": "cpu"}


def test_an_older_workspace_says_nothing_of_devices(study):
    collected_on(study, {"upper": ""})
    assert not study.attribute(force=True, **CALM).notes


def test_virtual_neurons_of_rough_relevances_say_so(study):
    study.attribute(lower_layer="lower", precision="bfloat16", **CALM)
    outcome = study.cluster(k=[2])
    assert any("are of relevances in bfloat16" in note for note in outcome.notes)
    study.attribute(lower_layer="lower", **CALM)
    assert not any(" are of " in note for note in study.cluster(k=[2], force=True).notes)


def test_a_processor_without_instructions_for_bfloat16_is_told(study, monkeypatch):
    for supported in (False, True):
        monkeypatch.setattr(arithmetic, "_multiplies_bfloat16", lambda supported=supported: supported)
        outcome = study.attribute(lower_layer="lower", precision="bfloat16", force=True, **CALM)
        assert any("no instructions for bfloat16" in note for note in outcome.notes) is not supported
