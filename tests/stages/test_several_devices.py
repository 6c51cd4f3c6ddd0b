"""A pass that several devices share finds what one finds, to the byte: two on the CPU stand for GPUs."""

import h5py
import pytest

from pure_cli import Workspace
from pure_cli.errors import PureError
from pure_cli.settings.attribute import AttributeSettings
from pure_cli.settings.embed import EmbedSettings
from pure_cli.stages.references import dataset_pass
from pure_cli.stages.references.scores import LayerScores
from pure_cli.stages.relevances import work as relevances

SEVERAL = "cpu,cpu,cpu"


def collected(folder, model_file, images, device, **options):
    workspace = Workspace(folder)
    options = {"layer": ["layer3", "layer2"], "n": 8, "batch_size": 7, "workers": 0, **options}
    workspace.collect(model=f"{model_file}:tiny", data=images, device=device, **options)
    return workspace


def arrays(file):
    """Name to bytes of all that an HDF5 file holds."""
    found = {}
    with h5py.File(file) as content:
        content.visititems(
            lambda name, node: found.update({name: repr(node[()].tolist())}) if isinstance(node, h5py.Dataset) else None
        )
    assert found
    return found


@pytest.mark.parametrize("options", [{}, {"by": "relevance", "target": "predicted"}, {"limit": 5}])
def test_collect_on_several_is_collect_on_one(tmp_path, model_file, images, options, monkeypatch):
    one = collected(tmp_path / "one", model_file, images, "cpu", **options)
    score, devices = LayerScores.score, []
    monkeypatch.setattr(LayerScores, "score", lambda self, batch: devices.append(id(self)) or score(self, batch))
    several = collected(tmp_path / "several", model_file, images, SEVERAL, **options)
    assert (one.path / "collect.h5").read_bytes() == (several.path / "collect.h5").read_bytes()
    assert len(set(devices)) == min(3, len(devices))
    assert all(devices[i] == devices[i % 3] for i in range(len(devices)))


def test_a_pass_that_was_stopped_goes_on_on_another_number_of_devices(tmp_path, model_file, images, monkeypatch):
    monkeypatch.setattr(dataset_pass, "CHECKPOINT_SECONDS", 0)
    one = collected(tmp_path / "one", model_file, images, "cpu")

    def stop(done, total):
        if done >= 28:
            raise KeyboardInterrupt

    for device, again in (("cpu", SEVERAL), (SEVERAL, "cpu,cpu")):
        folder = tmp_path / device
        with pytest.raises(KeyboardInterrupt):
            collected(folder, model_file, images, device, progress=stop)
        seen = []
        collected(folder, model_file, images, again, progress=lambda done, total: seen.append(done))  # noqa: B023
        assert seen[0] > 0
        assert (folder / "collect.h5").read_bytes() == (one.path / "collect.h5").read_bytes()


@pytest.mark.parametrize("rule", ["gradient-x-input", "epsilon-plus"])
def test_attribute_on_several_is_attribute_on_one(tmp_path, model_file, images, rule, monkeypatch):
    workspace = collected(tmp_path / "w", model_file, images, "cpu")
    found, order = [], []
    write, compute = relevances._write_activations, relevances._relevances
    monkeypatch.setattr(relevances, "_write_activations", lambda *args: order.append("write") or write(*args))
    monkeypatch.setattr(relevances, "_relevances", lambda *args: order.append("compute") or compute(*args))
    for device in ("cpu", SEVERAL):
        order.clear()
        workspace.attribute(layer=["layer3"], rule=rule, device=device, batch_size=4, workers=0, force=True)
        found.append(arrays(workspace.path / "attribute.h5"))
    assert found[0] == found[1]
    assert order[:6] == ["compute"] * 3 + ["write"] * 3  # all devices have something to do before one is waited for


def test_memory_that_runs_out_on_several_halves_the_batches(tmp_path, model_file, images, monkeypatch):
    workspace = collected(tmp_path / "w", model_file, images, "cpu")
    workspace.attribute(layer=["layer3"], batch_size=8, workers=0)
    whole = arrays(workspace.path / "attribute.h5")

    def scarce(task, work, bounds, inputs):
        if bounds[1] - bounds[0] > 3:
            raise RuntimeError("out of memory")
        return own(task, work, bounds, inputs)

    from pure_cli.stages import attribute

    own = attribute.compute_batch
    monkeypatch.setattr(attribute, "compute_batch", scarce)
    outcome = workspace.attribute(layer=["layer3"], device="cpu,cpu", batch_size=8, workers=0, force=True)
    assert any("memory was not enough" in note for note in outcome.notes)
    assert arrays(workspace.path / "attribute.h5").keys() == whole.keys()


@pytest.mark.parametrize(
    ("settings", "device", "words"),
    [
        (EmbedSettings, "cpu,cpu", "--device cpu"),
        (AttributeSettings, "cpu,cuda:0", "one kind"),
        (AttributeSettings, "auto,auto", "one kind"),
    ],
)
def test_what_several_devices_cannot_do_is_said(settings, device, words):
    with pytest.raises(PureError, match=words):
        settings(device=device)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "", "cpu,,gpu"])
def test_a_device_that_is_none_is_refused(device):
    with pytest.raises(ValueError, match="auto, cpu, mps, cuda, or cuda:NUMBER"):
        AttributeSettings(device=device)
