import random

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import nn

from pure_cli.demo.images import read_digits, write_digits
from pure_cli.demo.network import WEIGHTS, digits
from pure_cli.demo.train import augmented, load_split, train
from pure_cli.errors import PureError

ONE_IMAGE = 1 / 500


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    model = digits()
    model.load_state_dict(load_file(WEIGHTS), strict=True)
    return model.eval()


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held-out")
    assert write_digits(folder, split="held-out") == 500
    return folder


def files(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.png")}


def test_shipped_weights_are_small():
    assert WEIGHTS.stat().st_size < 400_000


@torch.no_grad()
def test_shipped_weights_reach_the_held_out_accuracy_that_they_state(trained, held_out):
    with safe_open(WEIGHTS, "pt") as opened:
        metadata = opened.metadata()
    paths = sorted(held_out.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    logits = trained((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)
    right = sum(int(path.parent.name) == guess for path, guess in zip(paths, logits.argmax(1).tolist(), strict=True))

    assert set(metadata) >= {"held_out_accuracy", "seed", "epochs", "torch_version"}
    assert right / len(paths) == pytest.approx(float(metadata["held_out_accuracy"]), abs=ONE_IMAGE + 1e-6)
    assert right / len(paths) > 0.98


@torch.no_grad()
def test_most_neurons_of_the_last_stage_have_top_images_of_several_digits(trained):
    pixels, labels = load_split("all")
    kept = []
    trained.layer3.register_forward_hook(lambda module, inputs, output: kept.append(output))
    trained((pixels.unsqueeze(1).expand(-1, 3, -1, -1) - 0.5) / 0.5)
    top = kept[0].amax(dim=(2, 3)).topk(50, dim=0).indices

    several = [np.sum(np.bincount(labels[images]) >= 5) > 1 for images in top.T]

    assert np.mean(several) > 0.5


def test_no_relu_is_used_twice_or_in_place():
    model = digits().eval()
    calls: list[str] = []
    relus = {name: module for name, module in model.named_modules() if isinstance(module, nn.ReLU)}
    for name, module in relus.items():
        module.register_forward_hook(lambda module, inputs, output, name=name: calls.append(name))
    model(torch.zeros(1, 3, 32, 32))

    assert sorted(calls) == sorted(relus)
    assert not any(module.inplace for module in relus.values())


def test_all_digits_are_written_as_32_by_32_rgb_in_a_folder_for_each_class(tmp_path):
    assert write_digits(tmp_path, split="all") == 1797

    target = load_digits().target
    assert set(files(tmp_path)) == {f"{label}/{index:04d}.png" for index, label in enumerate(target)}
    for file in tmp_path.rglob("*.png"):
        with Image.open(file) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))


def test_enlarged_digits_shrink_back_to_those_of_scikit_learn():
    small = read_digits("all").pixels.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    original = load_digits().images * 255 / 16
    assert np.corrcoef(small.ravel(), original.ravel())[0, 1] > 0.98


def test_train_and_held_out_are_disjoint_and_together_all():
    train_part, held_out_part = (set(read_digits(split).indices.tolist()) for split in ("train", "held-out"))
    assert len(held_out_part) == 500
    assert not train_part & held_out_part
    assert train_part | held_out_part == set(range(1797))


def test_split_does_not_depend_on_the_state_of_the_global_generators():
    before = read_digits("held-out")
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    after = read_digits("held-out")
    np.testing.assert_array_equal(before.indices, after.indices)
    np.testing.assert_array_equal(before.pixels, after.pixels)


def test_writing_again_mends_broken_files_and_leaves_the_others_alone(held_out):
    first = files(held_out)
    broken, whole = sorted(held_out.rglob("*.png"))[:2]
    broken.write_bytes(b"half a file")
    time = whole.stat().st_mtime_ns

    assert write_digits(held_out, split="held-out") == 500

    assert files(held_out) == first
    assert whole.stat().st_mtime_ns == time


def test_unknown_split_names_the_splits(tmp_path):
    with pytest.raises(PureError, match="held-out"):
        write_digits(tmp_path, split="heldout")


def test_training_twice_from_one_seed_gives_the_same_weights():
    pixels, labels = (tensor[:128] for tensor in load_split("train"))
    first, second = (train(pixels, labels, seed=3, epochs=1).state_dict() for _ in range(2))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)


def test_augmented_images_stay_in_range_and_keep_their_ink():
    pixels = load_split("train")[0][:64]
    moved = augmented(pixels, torch.Generator().manual_seed(0))
    assert moved.shape == pixels.shape
    assert moved.min() >= 0 and moved.max() <= 1
    assert not torch.equal(moved, pixels)
    assert moved.sum() == pytest.approx(pixels.sum().item(), rel=0.2)
