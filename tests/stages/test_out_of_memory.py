"""Where the memory runs out, batches are halved and the work goes on; the results are those of small batches."""

import re

import h5py
import numpy as np
import pytest
import torch
from materials import TINY_MODEL, make_images
from safetensors.numpy import load_file

from pure_cli import Workspace
from pure_cli.artifacts import read_collected
from pure_cli.core.memory import is_out_of_memory
from pure_cli.data.listing import list_images
from pure_cli.errors import PureFailure
from pure_cli.settings.shared import Running
from pure_cli.stages.planted.dataset_pass import pass_over_images
from pure_cli.stages.runtime.batches import AdaptiveBatches
from pure_cli.stages.runtime.network import open_network

MEMORY = 5  # images that the model takes at once
HUNGRY = (
    TINY_MODEL
    + """

class Hungry(Tiny):
    def forward(self, x):
        import os
        if len(x) > int(os.environ["HUNGRY"]):
            if "CPU" in os.environ["HUNGRY_SAYS"]:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(x)


def hungry():
    torch.manual_seed(0)
    model = tiny()
    model.__class__ = Hungry
    return model
"""
)


@pytest.fixture
def hungry(tmp_path, monkeypatch):
    monkeypatch.setenv("HUNGRY", str(MEMORY))
    monkeypatch.setenv("HUNGRY_SAYS", "CUDA")
    freed = "pure_cli.stages.runtime.batches.gc.collect"  # takes seconds in a process that has imported all
    monkeypatch.setattr(freed, lambda: None)
    path = tmp_path / "hungry_model.py"
    path.write_text(HUNGRY)
    return f"{path}:hungry"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("images"), 30)


def content(workspace, stage):
    """All numbers of a file of a workspace."""
    found = {}
    with h5py.File(workspace / f"{stage}.h5") as file:
        file.visititems(lambda name, node: found.update({name: node[:]}) if isinstance(node, h5py.Dataset) else None)
    return found


def stages(folder, model, images, batch_size):
    """Everything that passes images through a network, in one workspace; the notes of each stage."""
    workspace, more = Workspace(folder), {"batch_size": batch_size, "workers": 0}
    yield workspace.collect(model=model, data=images, layer=["layer3"], n=8, **more).notes
    yield workspace.attribute(lower_layer=["layer2"], neurons="0-5", **more).notes
    yield workspace.embed(embedder=[f"{model}:layer3"], crop="activation", **more).notes
    yield workspace.directions("pca", layer=["layer2"], m=4, **more).notes
    workspace.embed(embedder=["pixels"], workers=0)
    workspace.cluster(k=[2])
    yield workspace.evaluate(metric=["ms"], judge="pixels", k=[2], sample=30).notes
    yield workspace.render(neurons="0-1", crop="activation", format="png", batch_size=16).notes


@pytest.mark.parametrize("says", ["CUDA", "CPU"])
def test_every_stage_halves_its_batches_says_so_once_and_gives_the_same(hungry, images, tmp_path, monkeypatch, says):
    monkeypatch.setenv("HUNGRY_SAYS", says)
    for notes in stages(tmp_path / "halved", hungry, images, 16):
        told = [note for note in notes if re.search(r"The memory was not enough for (8|16|30) images at once", note)]
        assert 1 <= len(told) <= 2  # embed: of boxes and of vectors
    monkeypatch.setenv("HUNGRY", "1000")
    assert not any("memory" in note for notes in stages(tmp_path / "whole", hungry, images, 16) for note in notes)
    for stage in ("collect", "attribute", "crops", "embed", "evaluate"):
        halved, whole = content(tmp_path / "halved", stage), content(tmp_path / "whole", stage)
        assert halved.keys() == whole.keys()
        for name, values in whole.items():
            if values.dtype.kind == "f":  # kernels may add up in another order where the batch is another
                np.testing.assert_allclose(halved[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
            else:
                np.testing.assert_array_equal(halved[name], values, err_msg=name)
    halved, whole = (load_file(tmp_path / name / "directions/layer2/pca-4.safetensors") for name in ("halved", "whole"))
    for name, values in whole.items():
        np.testing.assert_allclose(halved[name], values, rtol=1e-3, atol=1e-4, err_msg=name)


def test_calibrate_looks_at_the_images_in_halves_too(hungry, images, tmp_path, monkeypatch):
    passes = []
    for memory in ("5", "1000"):
        monkeypatch.setenv("HUNGRY", memory)
        workspace = Workspace(tmp_path / memory)
        workspace.collect(model=hungry, data=images, layer=["layer3"], n=8, workers=0, batch_size=4)
        network = open_network(read_collected(workspace.store), "cpu")
        where = network, list_images(images), "layer3", "layer3.0.bn2", ["layer2"], Running(), lambda _: None
        passes.append(pass_over_images(*where, tmp_path / f"seen-{memory}", ""))
    halved, whole = passes
    np.testing.assert_array_equal(halved.image, whole.image)
    np.testing.assert_allclose(halved.mean, whole.mean, rtol=1e-4, atol=1e-6)
    for name, highest in whole.highest.items():
        np.testing.assert_allclose(halved.highest[name], highest, rtol=1e-4, atol=1e-6)


def test_a_network_that_takes_one_image_at_a_time_is_enough(hungry, images, tmp_path, monkeypatch):
    monkeypatch.setenv("HUNGRY", "1")
    assert len(list(stages(tmp_path / "one", hungry, images, 4))) == 6


def test_halved_relevance_is_that_of_whole_batches(hungry, images, tmp_path, monkeypatch):
    for memory in (1000, 4):
        monkeypatch.setenv("HUNGRY", str(memory))
        workspace = Workspace(tmp_path / str(memory))
        workspace.collect(
            model=hungry,
            data=images,
            layer=["layer3"],
            n=8,
            by="relevance",
            target="predicted",
            batch_size=16,
            workers=0,
        )
    np.testing.assert_array_equal(*(content(tmp_path / m, "collect")["layers/layer3/image"] for m in ("1000", "4")))


def test_where_not_even_one_image_fits_a_sentence_says_so_and_what_was_there_stays(
    hungry, images, tmp_path, monkeypatch
):
    workspace = Workspace(tmp_path / "w")
    workspace.collect(model=hungry, data=images, layer=["layer3"], n=8, batch_size=4, workers=0)
    workspace.attribute(lower_layer=["layer2"], neurons="0-5", batch_size=4, workers=0)
    before = content(tmp_path / "w", "attribute")

    def fail(*_):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr("pure_cli.stages.attribute.compute_batch", fail)
    with pytest.raises(PureFailure, match="not enough for one image"):
        workspace.attribute(lower_layer=["layer2"], neurons="0-5", batch_size=4, workers=0, force=True)
    after = content(tmp_path / "w", "attribute")
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("fits", [1, 2, 3, 7, 8, 100])
def test_all_of_a_batch_is_computed_once_and_in_order_whatever_fits(fits):
    done, notes = [], []
    portions = AdaptiveBatches(notes)

    def compute(start, stop):
        if stop - start > fits:
            raise MemoryError
        done.extend(range(start, stop))

    for _ in range(3):
        portions.each(13, compute)
    assert done == [*range(13)] * 3
    assert len(notes) == (fits < 13)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def fail(start, stop):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        AdaptiveBatches().each(4, fail)
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)
