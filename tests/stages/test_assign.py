"""assign gives images to the virtual neurons that they belong to, over the whole range of activation."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pure_cli import PureError, Workspace
from pure_cli.artifacts import Assignment, read_assignments
from pure_cli.core.assignment import Assigner
from pure_cli.provenance import Provenance
from pure_cli.stages.assignment.tables import carried, in_all
from pure_cli.stages.inputs.features import Sources

COLOURS = {"red": 0, "blue": 2}
EACH = 24


class TwoPaths(nn.Module):
    """Neuron 0 fires for red by one lower channel and for blue by another; neuron 1 never does."""

    def __init__(self):
        super().__init__()
        self.lower, self.upper = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 2, 1, bias=False)
        self.lower.weight.data = torch.eye(3)[:, :, None, None]
        self.upper.weight.data = torch.tensor([[1.0, 0, 2.0], [-1, -1, -1]])[:, :, None, None]

    def forward(self, images):
        return torch.relu(self.upper(torch.relu(self.lower(images)))).mean(dim=(-1, -2))


def paint(folder, seed):
    """Squares of one colour, from faint to bright, in a folder for each colour."""
    random = np.random.default_rng(seed)
    for name, channel in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number, bright in enumerate(random.permutation(np.linspace(20, 250, EACH)).astype(int)):
            pixels = np.zeros((8, 8, 3), np.uint8)
            pixels[..., channel] = bright
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


def to_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


@pytest.fixture
def paths(tmp_path):
    """A workspace of `TwoPaths` whose references are the 30 brightest of 48 images."""
    study = Workspace(tmp_path / "w", model=TwoPaths(), transform=to_tensor)
    study.collect(data=paint(tmp_path / "seen", 0), layer="upper", references=30, workers=0, device="cpu")
    study.attribute(lower_layer="lower", workers=0, device="cpu")
    study.cluster(k=[2])
    return study


def test_disjoint_paths_are_told_apart_on_images_that_were_never_seen(paths, tmp_path):
    new = paint(tmp_path / "new", 1)
    paths.assign(data=new, neurons=0, per_quantile=0, workers=0, device="cpu")
    found = read_assignments(paths.store)["upper"]
    assert found.image.shape == (1, 2 * EACH) and found.count.sum() == 2 * EACH
    by_label = {}
    for image, share, hard in zip(found.image[0].tolist(), found.share[0], found.hard[0].tolist(), strict=True):
        assert sorted(share.tolist()) == [0, 0, 1] and share[-1] == 0
        by_label.setdefault(found.label[image], set()).add(hard)
    assert sorted(map(tuple, by_label.values())) == [(0,), (1,)], "each colour is one virtual neuron, without exception"
    blues = [np.asarray(Image.open(new / found.path[i]))[0, 0].sum() for i in found.image[0].tolist()]
    factor = [2 if found.path[i].startswith("blue") else 1 for i in found.image[0].tolist()]
    np.testing.assert_allclose(found.score[0], np.array(blues) * factor / 255, rtol=1e-6)
    assert found.mass.sum() == pytest.approx(found.score.sum(dtype=np.float64), rel=1e-6)
    (table,) = paths.assign(data=new, neurons=0, per_quantile=0, workers=0, device="cpu").details["tables"]
    shares = {row["virtual neuron"]: row["share"][0] for row in table["rows"]}
    assert sorted(shares.values()) == pytest.approx([0, 1 / 3, 2 / 3], abs=1e-6), "blue counts twice"


def test_a_draw_is_of_each_quantile_and_estimates_the_whole(paths, tmp_path):
    paths.assign(per_quantile=2, quantiles=4, workers=0, device="cpu")
    found = read_assignments(paths.store)["upper"]
    assert found.count.tolist() == [[EACH / 2] * 4, [0] * 4]
    assert np.bincount(found.quantile[0][found.image[0] >= 0]).tolist() == [2] * 4
    assert (found.image[1] == -1).all() and (found.hard[1] == -1).all()
    for part in range(4):
        own = found.score[0][found.quantile[0] == part]
        assert found.edge[0, part] <= own.min() and own.max() <= found.edge[0, part + 1]
    with pytest.raises(PureError, match="has no neuron 7"):
        paths.assign(neurons=7)


def test_virtual_neurons_without_a_share_have_their_rows(paths, tmp_path):
    paint(tmp_path / "new", 1)
    (table,) = paths.assign(data=tmp_path / "new" / "red", workers=0, device="cpu").details["tables"]
    shares = {row["virtual neuron"]: row["share"] for row in table["rows"]}
    assert list(shares) == ["0.1", "0.2", "0 none", "1 none"]
    assert sorted(share[0] for share in list(shares.values())[:3]) == [0, 0, 1] and shares["1 none"] is None
    (table,) = paths.assign(per_quantile=1, workers=0, device="cpu").details["tables"]
    assert table["rows"][0]["share"][1] is None, "one image of each part tells no error"


def test_what_an_assignment_replaces_is_said_and_has_no_figures_left(paths, tmp_path):
    how = {"per_quantile": 2, "workers": 0, "device": "cpu", "figures": 2}
    folder = paths.path / "assign" / "upper"

    def told(**more):
        notes = [note for note in paths.assign(**how, **more).notes if "replaced" in note]
        return notes, sorted(file.name for file in folder.glob("*"))

    both = ["neuron-0000.png", "neuron-0001.png"]
    assert told(neurons=0) == ([], both[:1])
    assert told() == ([], both), "others on the same images join"
    assert told(force=True) == ([], both), "the same again is no other"
    (folder / "neuron-0001-mine.png").touch()
    (note,), left = told(neurons=0, data=paint(tmp_path / "new", 1))
    assert f"2 neurons of 'upper' on {tmp_path / 'seen'}, of virtual neurons by pure features with k = 2:" in note
    assert left == ["neuron-0000.png", "neuron-0001-mine.png"]
    paths.cluster(k=[3])
    paths.choose(k=3)
    (note,), _ = told(neurons=0, data=tmp_path / "new")
    assert f"1 neuron of 'upper' on {tmp_path / 'new'}, of virtual neurons by pure features with k = 2:" in note
    (note,), _ = told(neurons=0, data=tmp_path / "new", seed=1)
    assert "k = 3" in note


@pytest.mark.parametrize("per_quantile", [20, 60])
def test_errors_are_how_much_shares_differ_from_draw_to_draw(per_quantile):
    """Activations of a quantile that differ a hundredfold, and belong the more to a virtual neuron the stronger."""
    random, parts, draws, there = np.random.default_rng(0), 4, 1000, 200
    score = np.sort(np.exp(random.normal(0, 1.5, parts * there)))
    share = (random.random(len(score)) < 1 / (1 + 2 / score)).astype(float)
    share = np.column_stack([share, 1 - share])
    score, share = score.reshape(parts, there), share.reshape(parts, there, 2)
    truth = (score[..., None] * share).sum(axis=(0, 1)) / score.sum()

    def drawn(count):
        own = np.stack([random.choice(there, count, replace=False) for _ in range(parts)])
        return _assignment(
            score=np.take_along_axis(score, own, axis=1), share=np.take_along_axis(share, own[..., None], axis=1),
            count=there, mass=score.sum(axis=1),
        )  # fmt: skip

    found = [drawn(per_quantile) for _ in range(draws)]
    whole = np.array([in_all(one, 0) for one in found])
    highest = np.array([np.array(carried(one, 0))[:, -1] for one in found])
    for values, expected in ((whole, truth), (highest, (score[-1, :, None] * share[-1]).sum(axis=0) / score[-1].sum())):
        mean, error = values[:, 0, 0], values[:, 1, 0]
        assert mean.mean() == pytest.approx(expected[0], abs=4 * mean.std() / draws**0.5 + 0.005)
        assert np.sqrt((error**2).mean()) == pytest.approx(mean.std(), rel=0.1)
    mean, error = in_all(drawn(there), 0)
    np.testing.assert_allclose([mean, error], [truth, [0, 0]], atol=1e-6)
    assert np.isnan(in_all(drawn(1), 0)[1]).all(), "one image says nothing of the others"


def _assignment(score, share, count, mass):
    """Of one neuron, with images (Q, m) of each quantile."""
    parts, drawn = score.shape
    empty = np.zeros((1, parts * drawn))
    return Assignment(
        neuron=np.zeros(1, int), edge=np.zeros((1, parts + 1)), count=np.full((1, parts), count), mass=mass[None],
        image=empty, score=score.reshape(1, -1), quantile=np.repeat(np.arange(parts), drawn)[None],
        share=share.reshape(1, parts * drawn, -1), hard=empty, limit=empty, variance=empty, path={}, label={},
        label_names=[], provenance=Provenance({}, {}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, model_file, tiny_weights, images):
    study = Workspace(tmp_path_factory.mktemp("assign"))
    study.collect(
        model=f"{model_file}:tiny", weights=tiny_weights, data=images, references=12, workers=0, layer="layer3"
    )
    study.attribute(workers=0)
    study.cluster(k=[2], features=["pure", "pure-sqrt-l2", "activation-mean", "lower-activation"])
    return study


@pytest.mark.parametrize("features", ["pure", "pure-sqrt-l2", "activation-mean", "lower-activation"])
def test_references_get_the_shares_of_their_own_features(tiny, features):
    tiny.choose(features=features)
    tiny.assign(neurons="0-3", per_quantile=0, workers=0, force=True)
    found = read_assignments(tiny.store)["layer3"]
    virtual = tiny.virtual_neurons("layer3")
    clustering, top = virtual.clustering, tiny.references("layer3")
    source = Sources(tiny.store).features_of("layer3", features)
    assert found.neuron.tolist() == [0, 1, 2, 3]
    for row, (neuron, points) in enumerate(zip(range(4), source.rows(np.arange(4)), strict=True)):
        labels = clustering.label[clustering.neuron.tolist().index(neuron)]
        if (labels < 0).all():
            assert (found.image[row] == -1).all(), "it never fires"
            continue
        assigner = Assigner.of(points, labels)
        place = {image: i for i, image in enumerate(found.image[row].tolist())}
        for slot in np.flatnonzero(labels >= 0).tolist():
            own = place[int(top["image"][neuron, slot])]
            np.testing.assert_allclose(found.score[row, own], top["value"][neuron, slot], rtol=1e-5)
            np.testing.assert_allclose(found.share[row, own], assigner.shares(points[[slot]])[0], atol=1e-3)
            assert found.hard[row, own] in (labels[slot], -1)
        assert (found.hard[row][found.image[row] >= 0] == -1).mean() < 1
    tiny.choose(features="pure")


def test_what_is_there_stays_and_what_changed_is_made_anew(tiny):
    first = tiny.assign(neurons="0,1", workers=0)
    assert tiny.assign(neurons="1", workers=0).computed == 0
    before = read_assignments(tiny.store)["layer3"]
    more = tiny.assign(neurons="1,2", workers=0)
    after = read_assignments(tiny.store)["layer3"]
    assert (first.computed, more.computed, after.neuron.tolist()) == (2, 1, [0, 1, 2])
    width = before.image.shape[1]
    np.testing.assert_array_equal(after.image[:2, :width], before.image)
    np.testing.assert_array_equal(after.share[:2, :width, :2], before.share[..., :2])
    assert tiny.assign(neurons="1", seed=1, workers=0).computed == 1
    assert read_assignments(tiny.store)["layer3"].neuron.tolist() == [1]


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(tiny, monkeypatch):
    from pure_cli.stages.resume.pair_work import PairWork

    tiny.assign(neurons="0-5", seed=2, workers=0, batch_size=4)
    whole = tiny.store.path("assign").read_bytes()
    finish, steps = PairWork.finish_step, []

    def stop(self):
        finish(self)
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt

    tiny.store.path("assign").unlink()
    monkeypatch.setattr(PairWork, "finish_step", stop)
    with pytest.raises(KeyboardInterrupt):
        tiny.assign(neurons="0-5", seed=2, workers=0, batch_size=4)
    assert not tiny.store.has("assign") and len(tiny.store.partials("assign-")) == 2
    monkeypatch.setattr(PairWork, "finish_step", finish)
    done = []
    tiny.assign(neurons="0-5", seed=2, workers=0, batch_size=4, progress=lambda done_, total: done.append(done_))
    assert done[0] > 0, "the scores were there"
    assert tiny.store.path("assign").read_bytes() == whole
    assert tiny.store.partials("assign-") == []


def test_features_that_need_crops_are_refused(tiny):
    tiny.embed(embedder="pixels", workers=0)
    tiny.cluster(features="pixels", k=[2])
    tiny.choose(features="pixels")
    with pytest.raises(PureError, match="say nothing of other images"):
        tiny.assign(workers=0)
    tiny.choose(features="pure")


def test_the_figure_has_bars_as_long_as_the_shares_and_a_frame_for_each_image(paths):
    from matplotlib.colors import to_hex

    from pure_cli.views.assignment import BAR, IMAGES, Part, colour_of, draw

    outcome = paths.assign(per_quantile=3, quantiles=4, workers=0, device="cpu", figures=1, force=True)
    (file,) = outcome.details["files"]
    assert file.endswith("assign/upper/neuron-0000.png")
    assert Image.open(file).size[0] == 1400
    pictures = [np.full((6, 4, 3), 90, np.uint8)] * (IMAGES + 2)
    hard = [0, 1, -1] + [0] * (IMAGES - 1)
    parts = [Part("2 … 3", "7 images", np.array([0.5, 0.2, 0.3]), pictures, hard), Part("–", "0 images", None, [], [])]
    (axes,) = draw("a", "b", ["0.1", "0.2", "none"], parts).axes
    bars = [patch for patch in axes.patches if patch.get_height() == pytest.approx(0.2)]
    assert [bar.get_width() / BAR for bar in bars] == pytest.approx([0.5, 0.2, 0.3])
    assert len({to_hex(bar.get_facecolor()) for bar in bars}) == 3
    frames = [to_hex(patch.get_edgecolor()) for patch in axes.patches if not patch.get_fill()]
    assert len(frames) == IMAGES == len(axes.images)
    assert frames[:3] == [colour_of(virtual, 3).lower() for virtual in (0, 1, -1)]
