"""Config files that are wrong: exit code 2, the file named, and what is wrong in it."""

import pytest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle: resnet50", ("Unknown key", "'modle'", "'model'")),
        ("attribute:\n  lower_layr: layer2", ("section 'attribute'", "'lower_layr'", "'lower_layer'")),
        ("model: [resnet50", ("not valid YAML", "line")),
        ("model: a: b", ("not valid YAML", "line 1")),
        ("- model\n- data", ("key: value",)),
        ("just words", ("key: value",)),
        ("attribute: 3", ("section 'attribute'", "key: value")),
        ("3: 4", ("Unknown key", "'3'")),
    ],
)
@pytest.mark.parametrize("command", ["collect", "run", "info"])
def test_config_file_that_is_wrong(study, refused, command, text, words):
    file = study.folder / "study.yaml"
    file.write_text(text)
    refused(study.pure(command, "-c", file), file, *words)


@pytest.mark.parametrize("command", ["collect", "attribute", "cluster", "render", "run"])
def test_missing_config_file(study, refused, command):
    refused(study.pure(command, "-c", study.folder / "nowhere.yaml"), "no config file", "nowhere.yaml")


def test_config_file_that_is_a_folder_or_no_text(study, refused):
    refused(study.pure("run", "-c", study.folder), study.folder, "cannot be read")
    refused(study.pure("run", "-c", study.image(0)), study.image(0))


def test_run_without_a_config_file(study, refused):
    refused(study.pure("run"), "--config FILE", "model", "data")


def test_run_without_a_model_says_what_to_write(study, refused):
    file = study.folder / "study.yaml"
    file.write_text(f"data: {study.data}")
    refused(study.pure("run", "-c", file), "'model'", "--config")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n: many", ("-n", "many")),
        ("k: [2, 0]", ("--k", "1 or more")),
        ("neurons: {first: 1}", ("--neurons", "first")),
        ("neurons: [one, two]", ("'one'", "--neurons 201,2,341")),
        ("device: gpu", ("--device", "gpu", "cuda")),
        ("device: 'cpu,cpu'", ("Several devices", "--device cpu")),
        ("render: {images: no}", ("--images", "no")),
    ],
)
def test_value_out_of_range(study, refused, text, words):
    file = study.folder / "study.yaml"
    file.write_text(f"model: {study.model}\nweights: {study.weights}\ndata: {study.data}\nworkers: 0\n{text}\n")
    answer = study.pure("run", "-c", file, "-q")
    refused(answer, *words)
    assert not (study.workspace / "collect.h5").exists(), (
        "options of later stages are checked before the first one runs"
    )
