"""Which output of the network a label means, where images are ranked by relevance for their labels."""

import numpy as np
import pytest
from PIL import Image

from pure_cli import Workspace
from pure_cli.errors import PureError

NETWORK = """
import torch
from torch import nn


def twelve():
    '''Output j sees neuron j of the layer 1 and nothing else.'''
    net = nn.Sequential(nn.Conv2d(3, 12, 1), nn.Conv2d(12, 12, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(12, 12, bias=False))
    with torch.no_grad():
        net[0].weight.fill_(1 / 3), net[0].bias.fill_(5)
        net[1].weight.copy_(torch.eye(12)[:, :, None, None]), net[1].bias.zero_()
        net[5].weight.copy_(torch.eye(12))
    return net
"""


def collected(folder, names, **options):
    """A workspace of two images in each class folder of `names`, and the outcome."""
    (folder / "net.py").write_text(NETWORK)
    for i, name in enumerate(sorted(names) * 2):
        file = folder / "data" / name / f"{i:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 40 + 8 * i, np.uint8)).save(file)
    workspace = Workspace(folder / "w")
    outcome = workspace.collect(
        model=f"{folder}/net.py:twelve", data=folder / "data", layer="1", by="relevance", n=2, workers=0, **options
    )
    return workspace, outcome


@pytest.mark.parametrize("names", [list(map(str, range(12))), ["2", "10", "5"], [f"{i:03}" for i in range(12)]])
def test_neuron_has_the_images_of_the_folder_with_the_number_of_its_output(tmp_path, names):
    workspace, outcome = collected(tmp_path, names)
    from pure_cli.data.listing import list_images

    paths = list_images(tmp_path / "data").paths
    image = workspace.references("1")["image"]
    for name in names:
        assert {paths[i].split("/")[0] for i in image[int(name)]} == {name}
    told = any("ImageFolder would put '10' before it" in note for note in outcome.notes)
    assert told == (sorted(names) != sorted(names, key=int) or len(names) < 12)


def test_the_reason_for_predicted_classes_is_the_right_one(tmp_path):
    def note(names, data="data"):
        (tmp_path / "-".join(names)).mkdir(exist_ok=True)
        folder = tmp_path / "-".join(names)
        if data == "data":
            _, outcome = collected(folder, names)
        else:
            outcome = Workspace(folder / "other").collect(
                model=f"{folder}/net.py:twelve", data=folder / data, layer="1", by="relevance", n=2, workers=0
            )
        (found,) = [note for note in outcome.notes if "Relevance is that" in note]
        return found

    assert "there are 3 class names for the model's 12 outputs; where class n is output n" in note(["0", "1", "2"])
    assert "labels up to 20, and the model has 12 outputs" in note(["3", "20"])
    assert "nothing says which" in note(["a", "b", "c"])
    for text, reason in (("0.png,1\n{},\n", "not every image has a label"), ("0.png\n{}\n", "no image has a label")):
        folder = tmp_path / "a-b-c"
        files = sorted(str(path.relative_to(folder)) for path in folder.glob("data/*/*.png"))
        (folder / "list.csv").write_text("path,label\n" + text.replace("0.png", files[0]).format(files[1]))
        assert reason in note(["a", "b", "c"], "list.csv")


def test_names_in_the_order_of_the_alphabet_are_told_and_others_refused(tmp_path):
    (tmp_path / "few").mkdir()
    names = [f"class {letter}" for letter in "abcdefghijkl"]
    _, outcome = collected(tmp_path, names)
    assert any("'class a' is output 0, 'class l' output 11" in note for note in outcome.notes)
    _, outcome = collected(tmp_path / "few", names[:3])
    assert any("predicted classes" in note for note in outcome.notes)
    with pytest.raises(PureError, match=r"The 3 class names of the images do not say which of the model's 12 outputs"):
        collected(tmp_path / "few", names[:3], target="label", force=True)
