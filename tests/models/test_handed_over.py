"""A model that is handed over in Python, in place of a name."""

import functools
import runpy
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import v2

from pure_cli import Workspace
from pure_cli.core.preprocessing import Preprocessing
from pure_cli.errors import PureError, PureFailure
from pure_cli.models.handed_over import give, preprocessing_of
from pure_cli.models.identity import identity

NORMALISE = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = v2.Normalize((0.5,) * 3, (0.2,) * 3)
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def content(workspace, stage):
    found = {}
    with h5py.File(workspace.path / f"{stage}.h5") as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    return found


def test_a_model_in_python_gives_what_its_file_gives(tiny, images, model_file, tiny_weights, tmp_path):
    by_name = Workspace(tmp_path / "name")
    by_name.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=8, workers=0)
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    tiny.train()
    handed = Workspace(
        tmp_path / "handed", model=tiny, transform=transforms.Compose([transforms.ToTensor(), NORMALISE])
    )
    handed.collect(data=images, n=8, workers=2)
    for workspace in (by_name, handed):
        workspace.attribute(workers=0)
        workspace.cluster()
        workspace.render(neurons=[0])
    assert tiny.training
    assert all(torch.equal(before[name], value) for name, value in tiny.state_dict().items())
    for stage in ("collect", "attribute"):
        expected = content(by_name, stage)
        for name, values in content(handed, stage).items():
            if values.dtype.kind in "if":
                np.testing.assert_array_equal(values, expected[name], err_msg=name)
    assert (handed.path / "figures").is_dir()


def test_other_weights_or_another_transform_are_another_model(tiny, images, tmp_path):
    plain = transforms.Compose([transforms.ToTensor(), NORMALISE])
    Workspace(tmp_path, model=tiny, transform=plain).collect(data=images, n=4, workers=0)
    same = Workspace(tmp_path, model=tiny, transform=transforms.Compose([transforms.ToTensor(), NORMALISE]))
    assert same.collect().up_to_date
    flipped = transforms.Compose([transforms.RandomHorizontalFlip(1.0), transforms.ToTensor(), NORMALISE])
    again = Workspace(tmp_path, model=tiny, transform=flipped).collect(workers=0)
    assert any("the model changed" in note for note in again.notes)
    with torch.no_grad():
        next(tiny.parameters()).add_(1)
    assert not Workspace(tmp_path, model=tiny, transform=flipped).collect(workers=0).up_to_date


def test_a_model_that_was_changed_in_place_or_is_another_one_is_noticed(tiny, images, tmp_path):
    workspace = Workspace(tmp_path, model=tiny)
    workspace.collect(data=images, n=4, workers=0)
    before = workspace.references("layer3")["value"]
    with torch.no_grad():
        tiny.conv1.weight.mul_(-1)
    with pytest.raises(PureError, match="another model than the one handed over"):
        workspace.attribute(workers=0)
    assert not workspace.collect(workers=0).up_to_date
    assert not np.array_equal(workspace.references("layer3")["value"], before)
    workspace.attribute(neurons="0", workers=0)
    with pytest.raises(PureError, match="another model than the one handed over"):
        Workspace(tmp_path, model=tiny, transform=transforms.ToTensor()).attribute(neurons="1", workers=0)


def test_another_process_asks_for_the_model(tiny, images, tmp_path):
    Workspace(tmp_path, model=tiny).collect(data=images, n=4, workers=0)
    done = subprocess.run(
        [sys.executable, "-m", "pure_cli", "attribute", "-w", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "handed over in Python" in done.stderr and "Traceback" not in done.stderr


def test_what_cannot_be_meant_is_refused(tiny, tmp_path):
    with pytest.raises(PureError, match=r"torch\.nn\.Module"):
        Workspace(tmp_path, model=3)
    with pytest.raises(PureError, match="belongs to a model"):
        Workspace(tmp_path, transform=lambda image: image)
    workspace = Workspace(tmp_path, model=tiny)
    with pytest.raises(PureError, match="leave out the other"):
        workspace.collect(model="resnet50", data=tmp_path)
    with pytest.raises(PureError, match="leave out crop_size"):
        (tmp_path / "images").mkdir()
        PHOTO.save(tmp_path / "images" / "a.png")
        workspace.collect(data=tmp_path / "images", crop_size=16)


@pytest.mark.parametrize(
    "steps",
    [
        [transforms.Resize(20), transforms.CenterCrop(16), transforms.ToTensor(), NORMALISE],
        [v2.Resize(20), v2.CenterCrop(16), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), HALF],
    ],
)
def test_pixels_and_normalisation_together_are_the_transform(steps):
    whole = transforms.Compose(steps)
    own = preprocessing_of(whole)
    pixels = own.geometry(PHOTO)
    assert pixels.dtype == np.uint8 and pixels.shape == (3, 16, 16)
    torch.testing.assert_close(own.normalize(torch.from_numpy(pixels)[None])[0], whole(PHOTO), rtol=0, atol=1e-6)


def test_presets_of_torchvision_and_plain_functions():
    from torchvision.models import ResNet18_Weights

    preset = ResNet18_Weights.DEFAULT.transforms()
    assert preprocessing_of(preset) == Preprocessing(resize=256, crop_size=224)
    assert preprocessing_of(None) == Preprocessing()
    halves = preprocessing_of(lambda image: torch.full((3, 4, 4), 0.5))
    assert (halves.geometry(PHOTO) == 128).all()
    assert torch.equal(halves.normalize(torch.full((1, 3, 2, 2), 255)), torch.ones(1, 3, 2, 2))
    as_image = preprocessing_of(lambda image: image.resize((8, 6)))
    np.testing.assert_array_equal(as_image.geometry(PHOTO), np.asarray(PHOTO.resize((8, 6))).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda image: torch.full((3, 4, 4), -1.0), "Normalize"),
        (lambda image: torch.zeros(4, 4), "shape"),
        (lambda image: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_transforms_that_give_no_pixels_say_so(function, says):
    with pytest.raises(PureFailure, match=says):
        preprocessing_of(function).geometry(PHOTO)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_that_fails_ends_collect_in_a_sentence(tiny, images, tmp_path, workers):
    workspace = Workspace(tmp_path, model=tiny, transform=fails_on_the_second())
    with pytest.raises(PureFailure, match="IndexError: pop from empty list"):
        workspace.collect(data=images, n=4, workers=workers, batch_size=2)


def fails_on_the_second():
    once = [transforms.ToTensor(), transforms.ToTensor()]
    return lambda image: once.pop()(image)


def resized(image, size):
    return transforms.functional.to_tensor(image.resize((size, size)))


class Scaled:
    def __init__(self, factor):
        self._factor = factor

    def __call__(self, image):
        return transforms.functional.to_tensor(image) * self._factor


class Plain(torch.nn.Module):
    def __init__(self, power=1):
        super().__init__()
        self.power = power
        self.conv = torch.nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.conv(x) ** self.power


class Negative(Plain):
    def forward(self, x):
        return self.conv(-x)


def lambdas(size):
    return lambda image: resized(image, size)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: transforms.Compose([transforms.Resize((n, n)), lambda image: image, transforms.ToTensor()]),
        lambda n: transforms.Compose([transforms.Lambda(lambda image: resized(image, n)), NORMALISE]),
        lambda n: functools.partial(resized, size=n),
        lambdas,
        lambda n: (lambda image: resized(image, 8)) if n == 8 else (lambda image: resized(image, 9)),
        Scaled,
        lambda n: Plain(n),
        lambda n: Plain() if n == 8 else Negative(),
        lambda n: torch.nn.Conv2d(8, 8, 3, stride=n),
        lambda n: np.full(3, n),
        lambda n: {"size": n},
    ],
)
def test_what_does_something_else_is_something_else(make):
    assert identity(make(8)) == identity(make(8))
    assert identity(make(8)) != identity(make(9))


def test_weights_and_the_mode_of_a_module_are_no_matter_of_its_identity():
    one, other = Plain(), Plain().eval()
    with torch.no_grad():
        other.conv.weight.add_(1)
    assert identity(one) == identity(other)


def test_the_identity_is_the_same_in_another_process(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(
        "from torchvision import transforms\nfrom pure_cli.models.identity import identity\n"
        "size = 3\ndef f(image):\n    return image.resize((size, size))\n"
        "print(identity(transforms.Compose([f, transforms.ToTensor()])))\n"
    )
    there = subprocess.run([sys.executable, file], capture_output=True, text=True).stdout
    runpy.run_path(str(file), run_name="__main__")
    assert capsys.readouterr().out == there and len(there.strip()) == 32


def test_a_model_that_is_built_with_functions_of_pure_keeps_its_name():
    from pure_cli.models.load import load_model
    from pure_cli.models.spec import parse_model

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = load_model(parse_model("pure:digits"), None)

        def forward(self, images):
            return self.network(images)

    model = Wrapped()
    first = give(model)
    assert give(model) == first
