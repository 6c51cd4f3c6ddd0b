"""How few references tell the same: what is said where that is known, not tried, and not to be known."""

from types import SimpleNamespace

import pytest

from pure_cli import Workspace
from pure_cli.stages.evaluation.references import _verdict

STUDY = SimpleNamespace(layer="layer3", ks=[2, 3])


def rows(alike):
    return [{"features": "pure", "k": 2, "n": n, "alike": value and [value, 0.0]} for n, value in alike.items()]


@pytest.mark.parametrize(
    ("alike", "says"),
    [
        ({20: 0.9, 50: 0.95, 100: 1.0}, "20 references split 'layer3' by pure at k = 2 as all 100 do"),
        ({20: 0.5, 50: 0.7, 100: 1.0}, "No fewer than all 100 references give the split"),
        ({100: 1.0}, "was not tried"),
        ({20: None, 100: None}, "Nothing is known of 'layer3'"),
    ],
)
def test_the_verdict_says_no_more_than_was_measured(alike, says):
    assert says in _verdict(STUDY, rows(alike), 100)


def test_as_many_references_as_virtual_neurons_have_a_table_and_no_figure(tmp_path, model_file, tiny_weights, images):
    workspace = Workspace(tmp_path / "w")
    quick = {"layer": "layer3", "workers": 0, "progress": False}
    workspace.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=3, **quick)
    workspace.attribute(neurons="0-3", **quick)
    outcome = workspace.evaluate(metric="references", k="2,3", progress=False)
    (found,) = outcome.details["tables"]
    assert [row["alike"][0] for row in found["rows"] if row["k"] == 3] == [None] * (len(found["rows"]) // 2)
    assert [row["alike"][0] for row in found["rows"] if row["k"] == 2] == [1.0] * (len(found["rows"]) // 2)
    (folder,) = outcome.details["folders"]
    assert sorted(path.name for path in (tmp_path / "w").rglob("*-k*.png")) == ["references-n-k2.png"], folder
