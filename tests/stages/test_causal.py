"""What is lost when a circuit is cut out, held against a plain loop on a network whose circuits are known."""

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from test_assign import TwoPaths, paint, to_tensor

from pure_cli import Workspace
from pure_cli.artifacts import read_collected
from pure_cli.core.metrics.causal import circuit_channels, drop, random_channels
from pure_cli.stages.evaluation.causal import MOST, SHARES


def test_channels_are_as_few_as_carry_the_share():
    relevance = np.array([0.1, -0.9, 0.4, 0.3, 0.0, 0.2])
    assert circuit_channels(relevance, 0.4).nonzero()[0].tolist() == [2]
    assert circuit_channels(relevance, 0.5).nonzero()[0].tolist() == [2, 3]
    assert circuit_channels(relevance, 1).nonzero()[0].tolist() == [0, 2, 3, 5]
    assert not circuit_channels(-np.abs(relevance), 0.5).any()
    for seed in range(20):
        chosen = random_channels(relevance, 0.5, np.random.default_rng(seed))
        carried = relevance[chosen]
        assert (carried > 0).all() and carried.sum() >= 0.5 and (carried.sum() - carried).min() < 0.5
    np.testing.assert_array_equal(drop(np.array([2.0, 2, 2, 0]), np.array([0.0, 2, 3, 1])), [1, 0, -0.5, np.nan])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("causal")
    found = Workspace(folder / "w", model=TwoPaths(), transform=to_tensor)
    found.collect(data=paint(folder / "seen", 0), layer="upper", references=30, workers=0, device="cpu")
    found.attribute(lower_layer="lower", workers=0, device="cpu")
    return found


def test_drops_are_those_of_a_plain_loop(study):
    outcome = study.evaluate(metric="causal", features="pure", k=2, workers=0, device="cpu")
    table = outcome.details["tables"][0]
    with h5py.File(study.store.path("evaluate")) as file:
        group = next(file[name] for name in walk(file) if name.endswith("pure/k2"))
        found = {name: group[name][0] for name in ("own", "siblings", "specificity", "at-random")}
    model, collected = TwoPaths(), read_collected(study.store)
    place = collected.path_of
    references = study.references("upper")["image"]

    def lower_of(index):
        files = [f"{collected.origin['data']}/{place[i]}" for i in index]
        with torch.no_grad():
            return torch.relu(model.lower(torch.stack([to_tensor(Image.open(file).convert("RGB")) for file in files])))

    order = references[0].tolist()
    lower, mean = lower_of(order), lower_of(np.unique(references).tolist()).mean(dim=(0, 2, 3))
    colour = [0 if "red" in place[i] else 2 for i in order]
    own, siblings = [], []
    for half in (0, 1):
        held = list(range(1 - half, 30, 2))
        for channel in (0, 2):
            for slot in [i for i in held if colour[i] == channel][: MOST // 2]:
                for cut in (0, 2):
                    changed = lower[slot : slot + 1].clone()
                    changed[:, cut] = mean[cut]
                    with torch.no_grad():
                        before, after = (model.upper(x)[0, 0].max() for x in (lower[slot : slot + 1], changed))
                    (own if cut == channel else siblings).append(float(1 - after / before))
    for share in range(len(SHARES)):
        assert found["own"][share] == pytest.approx(np.mean(own), rel=1e-4)
        assert found["siblings"][share] == pytest.approx(np.mean(siblings), rel=1e-4)
        assert found["specificity"][share] == pytest.approx(np.mean(own) - np.mean(siblings), rel=1e-4)
        assert found["at-random"][share] == pytest.approx(found["specificity"][share]), "there is one channel to draw"
    assert found["specificity"][0] > 0.5
    assert table["rows"][0]["specificity"][0] == pytest.approx(found["specificity"][1])
    assert "loses" in table["verdict"]


def walk(group):
    names = []
    group.visit(names.append)
    return names


def test_untrained_circuits_of_one_cloud_are_not_specific(tmp_path, model_file, images):
    """Where all references go one way, each half has one circuit: what is cut out for one is lost for the other."""
    found = Workspace(tmp_path)
    found.collect(
        model=f"{model_file}:tiny", weights="none", data=images, references=24, workers=0, layer="layer3", device="cpu"
    )
    found.attribute(workers=0, device="cpu")
    rows = found.evaluate(metric="causal", features="pure", k=2, workers=0, device="cpu").details["tables"][0]["rows"]
    mean, error = rows[0]["specificity"]
    assert abs(mean) < max(0.1, 4 * error)
