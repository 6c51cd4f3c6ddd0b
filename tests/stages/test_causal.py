"""What is lost when a circuit is cut out, held against a plain loop on a network whose circuits are known."""

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from test_assign import TwoPaths, paint, to_tensor

from pure_cli import Workspace
from pure_cli.artifacts import read_collected
from pure_cli.core.controls import shuffle_weights
from pure_cli.core.metrics.causal import circuit_channels, drop, random_channels, weighted_drop
from pure_cli.stages.evaluation.causal import SHARES
from pure_cli.stages.evaluation.held_out import MOST


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


@pytest.mark.parametrize("ablation", ["mean", "zero", "resampled"])
def test_drops_are_those_of_a_plain_loop(study, ablation):
    outcome = study.evaluate(metric="causal", features="pure", k=2, ablation=ablation, workers=0, device="cpu")
    table = outcome.details["tables"][0]
    with h5py.File(study.store.path("evaluate")) as file:
        where = "pure/k2" if ablation == "mean" else f"ablation-{ablation}/pure/k2"
        group = next(file[name] for name in walk(file) if name.endswith(where))
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
    others = np.unique(references[references >= 0])
    colour = [0 if "red" in place[i] else 2 for i in order]

    def instead(image, cut):
        if ablation == "resampled":
            donor = np.random.default_rng([0, image]).choice(others[others != image])
            return lower_of([donor])[0, cut]
        return mean[cut] if ablation == "mean" else 0

    own, siblings = [], []
    for half in (0, 1):
        held = list(range(1 - half, 30, 2))
        for channel in (0, 2):
            for slot in [i for i in held if colour[i] == channel][: MOST // 2]:
                for cut in (0, 2):
                    changed = lower[slot : slot + 1].clone()
                    changed[:, cut] = instead(order[slot], cut)
                    with torch.no_grad():
                        before, after = (model.upper(x)[0, 0].max() for x in (lower[slot : slot + 1], changed))
                    (own if cut == channel else siblings).append(float(1 - after / before))
    for share in range(len(SHARES)):
        assert found["own"][share] == pytest.approx(np.mean(own), rel=1e-4)
        assert found["siblings"][share] == pytest.approx(np.mean(siblings), rel=1e-4, abs=1e-7)
        assert found["specificity"][share] == pytest.approx(np.mean(own) - np.mean(siblings), rel=1e-4)
        assert found["at-random"][share] == pytest.approx(found["specificity"][share]), "there is one channel to draw"
    assert table["rows"][0]["specificity"][0] == pytest.approx(found["specificity"][1])
    assert "loses" in table["verdict"]
    if ablation == "zero":
        assert (found["own"], found["siblings"]) == (pytest.approx(np.ones(4)), pytest.approx(np.zeros(4)))
    else:
        assert found["specificity"][0] > 0.3


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


def test_relevance_of_a_linear_network_is_what_is_lost_without_its_channels(study):
    """Where channels are set to zero and nothing is bent between them and the neuron, the two are one thing."""
    outcome = study.evaluate(metric="faithfulness", k=2, ablation="zero", neurons=0, workers=0, device="cpu")
    (table,) = outcome.details["tables"]
    rows = {row["relevance by"]: row["r"][0] for row in table["rows"]}
    for rule in ("gradient-x-input", "epsilon", "integrated-gradients"):
        assert rows[rule] == pytest.approx(1, abs=1e-5)
    assert rows["activation"] == pytest.approx(1, abs=1e-5), "one channel is active on each image"
    assert abs(rows["at random"]) < 0.95
    with h5py.File(study.store.path("evaluate")) as file:
        effect = next(file[name] for name in walk(file) if name.endswith("effect"))[:]
    assert set(map(tuple, effect.round(5).tolist())) == {(0, 0, 1), (1, 0, 0)} and len(effect) == 4


def test_a_drop_is_weighted_as_relevance_is():
    whole, after = np.array([3.0, 1.0, -2.0]), np.array([[3.0, 0, 5], [0, 1, 0], [-4, -1, 0], [3, 1, -2]])
    expected = [1 * 1 / 10, 3 * 3 / 10, 1, 0]
    np.testing.assert_allclose(weighted_drop(whole, after), expected)
    assert np.isnan(weighted_drop(-whole.clip(min=0), after)).all()


def test_shuffled_weights_are_the_same_values_elsewhere():
    model = TwoPaths()
    shuffle_weights(model, 0)
    for before, now in zip(TwoPaths().parameters(), model.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, now.flatten().sort().values)
    assert not torch.equal(TwoPaths().lower.weight, model.lower.weight)
