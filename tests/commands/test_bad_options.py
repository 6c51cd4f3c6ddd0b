"""Options and data that are wrong: exit code 2 and a sentence that says what is expected."""

import shutil

import h5py
import numpy as np
import pytest
from PIL import Image


def test_missing_data_folder(study, refused):
    answer = study.pure("collect", "--model", study.model, "--data", study.folder / "nowhere")
    refused(answer, study.folder / "nowhere", "--data")


def test_folder_without_images(study, refused):
    empty = study.folder / "empty"
    empty.mkdir()
    refused(study.pure("collect", "--model", study.model, "--data", empty), "no image", empty)


def test_collect_without_a_model_or_data(study, refused):
    refused(study.pure("collect", "--data", study.data), "--model")
    refused(study.pure("collect", "--model", study.model), "--data")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-n", 0), ("-n", "0")),
        (("--limit", 0), ("--limit", "0")),
        (("--batch-size", 0), ("--batch-size", "0")),
        (("--workers", -1), ("--workers", "-1")),
        (("--resize", 0), ("--resize", "0")),
        (("--mean", "0.5,0.5"), ("--mean", "three numbers", "0.5,0.5")),
        (("--mean", "a,b,c"), ("--mean", "three numbers", "a,b,c")),
        (("--std", "1,0,1"), ("--std", "greater than 0")),
        (("--interpolation", "lanczos"), ("--interpolation", "bilinear", "lanczos")),
    ],
)
def test_collect_option_out_of_range(study, refused, options, words):
    refused(study.collect(*options), *words)


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("attribute", ("--batch-size", 0), ("--batch-size", "0")),
        ("attribute", ("--rule", "gradient"), ("--rule", "gradient-x-input")),
        ("cluster", ("--k", 0), ("--k", "1 or more")),
        ("cluster", ("--k", "two"), ("--k", "two")),
        ("cluster", ("--k", 7), ("--k 7", "6 references")),
        ("cluster", ("--features", "activation"), ("'activation'", "activation-max")),
        ("cluster", ("--features", "pure@layer1"), ("'layer1'", "layer2", "pure attribute --lower-layer layer1")),
        ("render", ("--k", 5), ("k = 5", "only 2", "pure cluster --features pure --k 5")),
        ("render", ("--k", "0"), ("--k", "1 or more")),
        ("render", ("--features", "activation-max"), ("activation-max", "pure cluster --features activation-max")),
        ("render", ("--format", "gif"), ("--format", "gif", "png")),
        ("render", ("--crop", "square"), ("--crop", "square", "crp")),
        ("render", ("--images", 0), ("--images", "0")),
        ("render", ("--top", 0), ("--top", "0")),
    ],
)
def test_option_of_a_later_stage_out_of_range(finished, refused, command, options, words):
    refused(finished.pure(command, *options), *words)


@pytest.mark.parametrize("command", ["attribute", "cluster", "render"])
def test_unknown_neuron_shows_the_range(finished, refused, command):
    refused(finished.pure(command, "--neurons", "3,12"), "no neuron 12", "0 to 11")


@pytest.mark.parametrize("command", ["attribute", "cluster", "render"])
@pytest.mark.parametrize("text", ["one", "1;2", "1-", "-1", "1.5.2", "0x2", ","])
def test_malformed_neurons_show_how_to_write_them(finished, refused, command, text):
    refused(finished.pure(command, "--neurons", text), "--neurons 201,2,341 or 0-63")


@pytest.mark.parametrize("command", ["attribute", "cluster", "embed"])
def test_a_virtual_neuron_is_refused_where_whole_neurons_are_meant(finished, refused, command):
    refused(finished.pure(command, "--neurons", "1.2"), "1.2 is a virtual neuron", "write 1")


def test_backward_range_of_neurons_shows_the_right_one(study, refused):
    refused(study.to("collect").pure("attribute", "--neurons", "5-2"), "2-5")


@pytest.mark.parametrize("command", ["attribute", "cluster", "render"])
def test_layer_that_the_workspace_lacks(finished, refused, command):
    refused(finished.pure(command, "--layer", "layer1"), "'layer1'", "layer3", "--layer layer1")


@pytest.mark.parametrize("lower", ["side", "fc", "layer3"])
def test_lower_layer_that_does_not_lead_to_the_layer(study, refused, lower):
    study.to("collect")
    refused(study.pure("attribute", "--lower-layer", lower), f"'{lower}' does not lead to 'layer3'", "Choose one")
    assert not study.file("attribute").exists()


def test_unknown_lower_layer_shows_the_nearest(study, refused):
    refused(study.to("collect").pure("attribute", "--lower-layer", "layer9"), "'layer9'", "'layer2'")


def test_cluster_of_neurons_without_relevances_names_the_command(study, refused):
    study.to("collect").pure("attribute", "--neurons", "0,1")
    refused(study.pure("cluster", "--neurons", "1,2"), "`pure attribute", "--layer layer3 --neurons 2`")


def test_render_of_neurons_without_virtual_neurons_names_the_command(study, refused):
    study.to("attribute").pure("cluster", "--neurons", "0,1")
    refused(study.pure("render", "--neurons", "1,2"), "pure cluster --layer layer3 --neurons 2")


@pytest.mark.parametrize(
    ("command", "before"), [("attribute", "collect"), ("cluster", "attribute"), ("render", "cluster")]
)
def test_stage_before_its_input_names_the_command_that_makes_it(study, refused, command, before):
    stages = ["collect", "attribute", "cluster"]
    if (made := stages.index(before)) > 0:
        study.to(stages[made - 1])
    refused(study.pure(command), study.workspace, f"pure {before}")


@pytest.mark.parametrize("command", ["attribute", "cluster", "render"])
def test_stage_in_an_empty_folder_names_collect(study, refused, command):
    study.workspace.mkdir()
    refused(study.pure(command), study.workspace, "pure collect")


@pytest.mark.parametrize("command", ["attribute", "cluster", "render", "info"])
def test_stage_in_no_folder_names_collect_and_makes_none(study, refused, command):
    refused(study.pure(command), study.workspace, "pure collect")
    assert not study.workspace.exists()


@pytest.mark.parametrize("command", ["collect", "attribute", "cluster", "render", "info"])
def test_workspace_that_is_a_file(study, refused, command):
    study.workspace.write_text("a file")
    answer = study.collect() if command == "collect" else study.pure(command)
    refused(answer, study.workspace, "is a file", "--workspace")


def test_workspace_of_another_model(finished, refused):
    answer = finished.pure("collect", "--model", f"{finished.model_file}:reused", "--data", finished.data)
    refused(answer, "another model", finished.model, "--workspace", "--force")


def test_cuda_without_a_gpu(study, refused):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refused(study.collect("--device", "cuda"), "no cuda device", "--device cpu")


@pytest.mark.parametrize("command", ["collect", "attribute", "cluster", "render", "run", "info", "demo"])
def test_unknown_option(cli, command):
    answer = cli(command, "--colour")
    assert answer.code == 2
    assert answer.out == ""
    assert "No such option: --colour" in answer.err


def test_unknown_command(cli):
    answer = cli("colect")
    assert answer.code == 2
    assert "collect" in answer.err


def test_images_of_different_sizes_need_resize(study, refused):
    Image.new("RGB", (48, 40)).save(study.data / "class0" / "odd.png")
    refused(study.collect(), "48 × 40", "32 × 32", "--resize", "--crop-size")
    assert study.collect("--resize", 32, "--crop-size", 32).code == 0


def test_all_images_damaged(study, refused):
    for image in study.data.rglob("*.png"):
        image.write_bytes(b"no image")
    refused(study.collect(), "None of the 24 images", study.data)


@pytest.fixture
def damaged(study) -> str:
    """The name of an image that cannot be read."""
    study.image(3).write_bytes(b"no image")
    return study.image(3).name


def test_damaged_image_is_named_counted_and_skipped(study, damaged):
    answer = study.collect("--json")
    assert answer.code == 0
    assert (answer.json["damaged"], answer.json["images"]) == (1, 23)
    assert "1 image could not be read" in answer.err
    assert damaged in answer.err
    again = study.collect("--json").json
    assert (again["up_to_date"], again["damaged"], again["images"]) == (True, 1, 23)
    assert damaged in study.pure("info", "--damaged").out


def test_damaged_image_is_named_when_quiet_too(study, damaged):
    answer = study.collect("-q")
    assert answer.code == 0
    assert answer.out == ""
    assert damaged in answer.err


def test_strict_stops_at_a_damaged_image(study, damaged, refused):
    refused(study.collect("--strict"), damaged, "--strict")
    assert not study.file("collect").exists()


def test_strict_stops_where_the_damage_was_found_before(study, damaged, refused):
    assert study.collect().code == 0
    refused(study.collect("--strict"), damaged, "--strict")


def test_image_deleted_between_the_stages(study, refused):
    study.to("collect").image(0).unlink()
    refused(study.pure("attribute"), "the images changed", "pure collect")


def test_image_damaged_between_the_stages(study, refused):
    image = study.to("collect").image(0)
    image.write_bytes(bytes(image.stat().st_size))
    refused(study.pure("attribute", "--workers", 0), "the images changed", image.name, "Run `pure collect` again")


def test_data_folder_gone_between_the_stages(study, refused):
    shutil.rmtree(study.to("collect").data)
    refused(study.pure("attribute"), study.data)
    told = study.pure("info")
    assert (told.code, str(study.data) in told.err) == (0, True)
    assert "up to date" not in told.out


def test_more_references_than_images_are_padded_and_every_stage_works(study):
    answer = study.collect("-n", 12, "--limit", 5)
    assert answer.code == 0, answer.err
    with h5py.File(study.file("collect")) as file:
        image = file["layers/layer3/image"][:]
        assert image.shape == (12, 12)
        assert (image[:, 5:] == -1).all()
        assert (np.sort(image[:, :5], axis=1) == np.arange(5) * 24 // 5).all()
    assert study.pure("attribute", "--workers", 0).code == 0
    table = study.pure("cluster", "--json").json["tables"][0]
    assert all(sum(virtual["size"] for virtual in row["virtual_neurons"]) <= 5 for row in table["neurons"])
    drawn = study.pure("render", "--neurons", "0", "--json")
    assert drawn.code == 0, drawn.err


def test_neuron_that_never_fires_has_no_virtual_neurons_and_a_figure(study):
    study.to("attribute")
    table = study.pure("cluster", "--json").json["tables"][0]
    (silent,) = (row for row in table["neurons"] if row["neuron"] == 5)
    assert silent == {"neuron": 5, "name": "", "tied": 0, "silhouette": None, "distance": None, "virtual_neurons": []}
    answer = study.pure("render", "--neurons", "5", "--json")
    assert answer.code == 0, answer.err
    fires = study.pure("render", "--neurons", "0", "--json")
    with Image.open(answer.json["files"][0]) as figure, Image.open(fires.json["files"][0]) as other:
        assert min(figure.size) > 50
        assert figure.height < other.height / 2  # a sentence, and no images that it does not fire for


def test_figures_into_a_file(finished, refused):
    refused(finished.pure("render", "--neurons", 1, "--out", finished.weights), finished.weights, "--out")
