"""The folders of torchvision's CIFAR, MNIST and ImageNet."""

import gzip
import json
import pickle
import shutil
import struct
from collections import OrderedDict

import numpy as np
import pytest
import torch
from made_sources import cifar, mnist

from pure_cli.data.decode import DamagedImage, decode
from pure_cli.data.listing import list_images
from pure_cli.errors import PureError


def pixels(data) -> np.ndarray:
    listing = list_images(data)
    return np.stack([np.asarray(decode(listing.read(i))) for i in range(len(listing))])


def files(folder, *names: str):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


# --- CIFAR


def test_cifar_as_torchvision_reads_it(made, tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    cifar(made, tmp_path)
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)  # of the published files
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    for split in ("train", "test"):
        theirs = CIFAR10(tmp_path, train=split == "train")
        listing = list_images(f"{tmp_path}#{split}")
        np.testing.assert_array_equal(pixels(f"{tmp_path}#{split}"), theirs.data)
        assert listing.labels.tolist() == theirs.targets and list(listing.names) == theirs.classes


def test_cifar_100_and_its_fine_labels(made, tmp_path):
    where = tmp_path / "cifar-100-python"
    where.mkdir()
    data = made.pixels[:3].transpose(0, 3, 1, 2).reshape(3, -1)
    batch = {"data": data, "fine_labels": [1, 0, 1], "coarse_labels": [0, 0, 0], "filenames": ["a", "b", "c"]}
    (where / "test").write_bytes(pickle.dumps(batch, protocol=2))
    (where / "meta").write_bytes(pickle.dumps({"fine_label_names": ["ant", "bee"], "coarse_label_names": ["insects"]}))
    for data in (where, tmp_path, f"{where}#test"):  # the only split need not be named
        listing = list_images(data)
        assert listing.labels.tolist() == [1, 0, 1] and listing.names == ("ant", "bee")
        assert listing.paths[0] == "test:00000"
        np.testing.assert_array_equal(pixels(data), made.pixels[:3])


def python_2_batch(pixels: bytes, label: int) -> bytes:
    """One image as Python 2 pickled the published files: texts without an encoding, an array of an old NumPy."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01M\x00\x0c\x86"
    text = b"T" + struct.pack("<I", len(pixels)) + pixels
    return b"\x80\x02}(U\x04data" + array + dtype + b"\x89" + text + b"tbU\x06labels]K" + bytes([label]) + b"au."


def test_batch_that_python_2_pickled(made, tmp_path):
    where = cifar(made, tmp_path).parent / "cifar-10-batches-py"
    image = made.pixels[11]
    (where / "test_batch").write_bytes(python_2_batch(image.transpose(2, 0, 1).tobytes(), 7))
    np.testing.assert_array_equal(pixels(f"{where}#test"), image[None])
    assert list_images(f"{where}#test").labels.tolist() == [7]


def test_split_of_cifar_must_be_named(made, tmp_path):
    cifar(made, tmp_path)
    with pytest.raises(PureError, match=r"several splits: train, test"):
        list_images(tmp_path / "cifar-10-batches-py")


class Bomb:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickle_that_would_run_code_does_not(made, tmp_path, protocol):
    where = cifar(made, tmp_path).parent / "cifar-10-batches-py"
    victim = tmp_path / "victim"
    victim.mkdir()
    for bomb in (Bomb(shutil.rmtree, str(victim)), Bomb(eval, "1 / 0"), Bomb(np.load, "x"), Bomb(getattr, "", "a")):
        (where / "data_batch_2").write_bytes(pickle.dumps({"data": bomb, "labels": [0]}, protocol=protocol))
        with pytest.raises(PureError, match=r"data_batch_2' is no batch of CIFAR \(it calls .*Fetch"):
            list_images(where.parent / "cifar-10-batches-py#train")
    assert victim.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", pickle.dumps([1, 2]), pickle.dumps({"data": np.zeros((2, 9), np.uint8), "labels": [0, 1]}, 2)],
)
def test_damaged_batch_is_named(made, tmp_path, content):
    where = cifar(made, tmp_path).parent / "cifar-10-batches-py"
    (where / "data_batch_5").write_bytes(content)
    with pytest.raises(PureError, match=r"data_batch_5' is no batch of CIFAR"):
        list_images(f"{where}#train")
    (where / "data_batch_5").unlink()
    with pytest.raises(PureError, match=r"data_batch_5' cannot be read \(No such file"):
        list_images(f"{where}#train")


def test_batch_that_goes_away(made, tmp_path):
    data = cifar(made, tmp_path)
    listing = list_images(data)
    (tmp_path / "cifar-10-batches-py" / "data_batch_5").unlink()
    with pytest.raises(DamagedImage, match="batch that it is in"):
        listing.read(len(listing) - 1)


# --- MNIST


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_as_torchvision_reads_it(made, tmp_path, compressed):
    from torchvision.datasets import MNIST

    mnist(made, tmp_path)
    theirs = MNIST(tmp_path, train=False)
    if compressed:
        for file in (tmp_path / "MNIST/raw").iterdir():
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
    for data in (f"{tmp_path}#test", f"{tmp_path}/MNIST#test", f"{tmp_path}/MNIST/raw#test"):
        listing = list_images(data)
        np.testing.assert_array_equal(pixels(data)[..., 0], theirs.data.numpy())
        assert listing.labels.tolist() == theirs.targets.tolist() and listing.names == tuple("0123456789")
    with pytest.raises(PureError, match="several splits: train, test"):
        list_images(tmp_path)


def test_names_of_fashion_are_those_of_torchvision(made, tmp_path):
    from torchvision.datasets import KMNIST, FashionMNIST

    mnist(made, tmp_path)
    for cls in (FashionMNIST, KMNIST):
        (tmp_path / "MNIST").rename(tmp_path / cls.__name__)
        assert list(list_images(f"{tmp_path}#test").names) == cls.classes
        (tmp_path / cls.__name__).rename(tmp_path / "MNIST")


def test_folder_of_several_data_sets_asks_for_one(made, tmp_path):
    mnist(made, tmp_path)
    shutil.copytree(tmp_path / "MNIST", tmp_path / "FashionMNIST")
    with pytest.raises(PureError, match=r"several data sets. Pass '.*MNIST/raw' or '.*FashionMNIST/raw'"):
        list_images(f"{tmp_path}#test")


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_mnist_is_named(made, tmp_path, compressed):
    data = mnist(made, tmp_path, compressed)
    file = next((tmp_path / "MNIST/raw").glob("t10k-images*"))
    for content in (file.read_bytes()[: file.stat().st_size // 2], b"", b"nonsense"):
        file.write_bytes(content)
        with pytest.raises(PureError, match=r"t10k-images-idx3-ubyte(\.gz)?' is damaged"):
            list_images(data)


# --- ImageNet

TENCH, COCK, HEN = "n01440764", "n01514668", "n01514859"


@pytest.fixture
def imagenet(tmp_path):
    both = [f"{split}/{code}/{i}.JPEG" for split in ("train", "val") for code in (TENCH, COCK) for i in range(2)]
    return files(tmp_path / "ILSVRC2012", *both)


def test_folder_of_train_and_val_asks_for_one(imagenet):
    with pytest.raises(PureError, match=r"several splits: train, val\. Name one: --data '.*ILSVRC2012#train'"):
        list_images(imagenet)
    listing = list_images(imagenet / "val")
    assert listing.names == (TENCH, COCK) and len(listing) == 4
    assert list_images(f"{imagenet}#val").fingerprint == listing.fingerprint


def test_classes_that_are_called_train_and_val_stay_classes(tmp_path):
    assert list_images(files(tmp_path / "a", "train/1.jpg", "val/1.jpg")).names == ("train", "val")
    assert list_images(files(tmp_path / "b", "train/ice/1.jpg", "test/tube/1.jpg")).names == ("test", "train")
    more = files(tmp_path / "c", "train/red/1.jpg", "val/red/1.jpg", "bus/red/1.jpg")
    assert list_images(more).names == ("bus", "train", "val")


def test_splits_without_class_folders_or_beside_other_folders_are_splits(tmp_path):
    kaggle = files(tmp_path / "k", f"train/{TENCH}/1.jpg", f"train/{COCK}/1.jpg", "val/1.jpg", "test/1.jpg")
    with pytest.raises(PureError, match="several splits: train, val, test"):
        list_images(kaggle)
    assert list_images(f"{kaggle}#train").names == (TENCH, COCK)
    assert list_images(f"{kaggle}#val").names == ()
    beside = files(tmp_path / "b", "train/red/1.jpg", "val/red/1.jpg", "extra/1.jpg")
    with pytest.raises(PureError, match="several splits: train, val"):
        list_images(beside)
    alone = files(tmp_path / "a", f"val/{TENCH}/1.jpg")
    assert list_images(f"{alone}#val").names == (TENCH,)


@pytest.mark.parametrize("name", ["LOC_synset_mapping.txt", "imagenet_class_index.json", "meta.bin", "words.txt"])
def test_readable_names_of_wordnet_ids(imagenet, name):
    before = list_images(imagenet / "train").fingerprint
    file = imagenet / name
    if name.endswith(".txt"):
        file.write_text(f"{TENCH} tench, Tinca tinca\n{HEN} hen\n{COCK}\tcock\n")
    elif name.endswith(".json"):
        file.write_text(json.dumps({"0": [TENCH, "tench"], "7": [COCK, "cock"]}))
    else:
        torch.save((OrderedDict({TENCH: ("tench", "Tinca tinca"), COCK: ("cock",)}), [TENCH]), file)
    listing = list_images(imagenet / "train")
    assert listing.names == ("tench", "cock") and listing.codes == (TENCH, COCK)
    assert listing.fingerprint == before  # results do not become stale by a file of names


@pytest.mark.parametrize("classes", [(TENCH, COCK), ("tench", "cock")])
def test_groups_of_classes_by_their_names_or_their_codes(imagenet, classes):
    from pure_cli.stages.planted.benchmark import grouped

    (imagenet / "words.txt").write_text(f"{TENCH} tench\n{COCK} cock\n")
    listing = grouped(list_images(imagenet / "train"), dict(zip(classes, ("fish", "bird"), strict=True)))
    assert listing.names == ("bird", "fish") and listing.labels.tolist() == [1, 1, 0, 0]


def test_classes_that_a_grouping_leaves_out_are_told(imagenet):
    from pure_cli.stages.planted.benchmark import ungrouped

    listing = list_images(imagenet / "train")
    (note,) = ungrouped(listing, {TENCH: "fish"})
    assert "names 1 of 2 classes" in note and f"('{COCK}')" in note
    assert not ungrouped(listing, {TENCH: "fish", COCK: "bird"}) and not ungrouped(listing, {})


def test_names_that_are_not_known_or_twice(imagenet):
    (imagenet / "words.txt").write_text(f"{TENCH} crane\n{COCK} crane\n")
    assert list_images(imagenet / "train").names == (f"crane ({TENCH})", f"crane ({COCK})")
    (imagenet / "words.txt").write_text(f"{TENCH} tench\n")
    assert list_images(imagenet / "train").names == ("tench", COCK)


def test_meta_that_would_run_code_is_left_alone(imagenet):
    victim = imagenet.parent / "victim"
    victim.mkdir()
    torch.save((Bomb(shutil.rmtree, str(victim)), []), imagenet / "meta.bin")
    assert list_images(imagenet / "train").names == (TENCH, COCK) and victim.exists()
