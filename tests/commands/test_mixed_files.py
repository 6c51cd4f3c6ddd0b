"""Files of another workspace among those of this one: told, and never used."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Other:
    """A workspace of the same model and images with another number of references; all stages done."""

    workspace: Path


@pytest.fixture
def other(finished) -> Other:
    workspace = finished.workspace.with_name("other")
    for words in (
        ["collect", *finished.inputs, "-n", 5, "--workers", 0],
        ["attribute", "--workers", 0],
        ["embed", "--embedder", "pixels", "--crop", "none", "--workers", 0],
        ["cluster"],
        ["evaluate", "--metric", "labels", "--k", 2],
    ):
        answer = finished.run(*words, "-w", workspace)
        assert answer.code == 0, answer.err
    return Other(workspace)


def statuses(study) -> dict[str, str | None]:
    return {result["stage"]: result["stale"] for result in study.pure("info", "--json").json["results"]}


def test_files_mixed_from_two_workspaces_are_stale_and_made_again(finished, other, refused):
    for name in ("attribute", "embed", "cluster", "evaluate"):
        shutil.copy(other.workspace / f"{name}.h5", finished.workspace)
    stale = statuses(finished)
    assert stale.pop("collect") is None
    assert set(stale) == {"attribute", "embed", "cluster", "evaluate", "render"}
    assert None not in stale.values()
    refused(finished.pure("cluster"), "stale", "Run `pure attribute` again")
    refused(finished.pure("cluster", "--features", "pixels+none"), "stale", "pure embed --embedder pixels")
    refused(finished.pure("evaluate", "--metric", "labels"), "stale", "Run `pure attribute` again")
    again = finished.pure("attribute", "--workers", 0)
    assert "stale" in again.err
    refused(finished.pure("render"), "stale", "Run `pure cluster` again")
    for words in (["embed", "--embedder", "pixels", "--crop", "none", "--workers", 0], ["cluster"]):
        answer = finished.pure(*words)
        assert answer.code == 0, answer.err
        assert "stale" in answer.err
    measured = finished.pure("evaluate", "--metric", "labels", "--k", 2, "--json")
    assert measured.json["computed"] == 1
    assert finished.pure("render", "--neurons", 0).code == 0
    assert set(statuses(finished).values()) == {None}


@pytest.mark.parametrize("name", ["attribute", "cluster"])
def test_a_file_under_the_name_of_another_is_told(finished, other, refused, name):
    shutil.copy(other.workspace / "embed.h5", finished.file(name))
    command = {"attribute": "cluster", "cluster": "render"}[name]
    refused(finished.pure(command), finished.file(name), f"pure {name} --force")
    assert str(finished.file(name)) in finished.pure("info").err
