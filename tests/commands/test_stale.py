"""What was made from something else than what is there now is told, never used."""

import shutil

import pytest


def change_weights(study) -> None:
    study.change_weights()


def add_image(study) -> None:
    shutil.copy(study.image(0), study.data / "class1" / "another.png")


def change_model_file(study) -> None:
    study.model_file.write_text(study.model_file.read_text() + "\n# another version\n")


CHANGES = [(change_weights, "the weights"), (add_image, "the images"), (change_model_file, "the model")]


def statuses(study) -> dict[str, str | None]:
    return {result["stage"]: result["stale"] for result in study.pure("info", "--json").json["results"]}


@pytest.mark.parametrize(("change", "what"), CHANGES)
def test_every_stage_says_what_changed_and_what_to_run(finished, refused, change, what):
    assert set(statuses(finished).values()) == {None}
    change(finished)
    assert statuses(finished) == dict.fromkeys(["collect", "attribute", "cluster", "render"], f"{what} changed")
    table = finished.pure("info").out
    assert table.count(f"stale: {what} changed") == 4
    for stage in ("attribute", "cluster", "render"):
        refused(finished.pure(stage), f"{what} changed", "Run `pure collect` again")


@pytest.mark.parametrize(("change", "what"), CHANGES)
def test_the_commands_that_are_named_mend_it(finished, refused, change, what):
    change(finished)
    again = finished.pure("collect", "--workers", 0)
    assert again.code == 0, again.err
    assert f"replaced: {what} changed" in again.err
    for stage, before in (("cluster", "attribute"), ("render", "attribute")):
        refused(finished.pure(stage), "stale", f"Run `pure {before}` again")
    again = finished.pure("attribute", "--workers", 0)
    assert again.code == 0, again.err
    assert "stale" in again.err
    refused(finished.pure("render"), "stale", "Run `pure cluster` again")
    assert finished.pure("cluster").code == 0
    assert finished.pure("render", "--neurons", 0, "--json").json["computed"] == 1
    assert set(statuses(finished).values()) == {None}


def test_another_number_of_references_makes_the_later_stages_stale(finished, refused):
    assert finished.collect("-n", 5).code == 0
    what = "the number of references (n) changed"
    assert statuses(finished) == {"collect": None, "attribute": what, "cluster": what, "render": what}
    refused(finished.pure("cluster"), "stale", "Run `pure attribute` again")


def test_stale_relevances_keep_their_lower_layers(study):
    study.to("collect")
    assert study.pure("attribute", "--lower-layer", "layer1", "--workers", 0).code == 0
    study.change_weights()
    assert study.pure("collect", "--workers", 0).code == 0
    assert study.pure("attribute", "--workers", 0).code == 0
    assert "at layer1, gradient-x-input" in study.pure("info").out


def test_collect_without_options_renews_every_layer_of_the_workspace(study):
    assert study.collect("--layer", "layer2", "--layer", "layer1").code == 0
    study.change_weights()
    answer = study.pure("collect", "--json")
    assert (answer.json["layers"], answer.json["computed"]) == (["layer1", "layer2"], 24)


def test_data_and_weights_that_moved_are_not_stale(finished):
    shutil.move(finished.data, finished.folder / "elsewhere")
    shutil.move(finished.weights, finished.folder / "elsewhere.pth")
    answer = finished.pure(
        "collect", "--model", finished.model, "--data", finished.folder / "elsewhere",
        "--weights", finished.folder / "elsewhere.pth", "-n", 6, "--json",
    )  # fmt: skip
    assert answer.json["up_to_date"]
    for stage in ("attribute", "cluster", "render"):
        more = ("--neurons", 0) if stage == "render" else ()
        assert finished.pure(stage, "--json", *more).json["up_to_date"], stage
