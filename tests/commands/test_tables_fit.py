"""Every table that is printed, from real results, at three widths; CSV and JSON have the same as numbers."""

import json

import pytest
from materials import require_fit, require_numbers, terminal_lines

from pure_cli import Workspace

LAYER = "layer3.0.bn2"
JUDGE = "pixels+none"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, images, model_file, tiny_weights):
    """Virtual neurons of a layer with a long name, by circuits at two lower layers, and pixels as a judge."""
    made = Workspace(tmp_path_factory.mktemp("tables") / "w")
    made.collect(model=f"{model_file}:tiny", weights=tiny_weights, data=images, n=12, workers=0, layer=LAYER)
    made.attribute(workers=0, lower_layer=["layer2", "layer3.0.conv1"])
    made.embed(embedder="pixels", workers=0, crop="none")
    made.cluster(features=["pure"], k=[2, "auto"])
    return made


@pytest.fixture(scope="module")
def tables(workspace):
    """Of all metrics that need no network."""
    features = ["pure@layer2+layer3.0.conv1", "pure-sqrt-l2@layer3.0.conv1", "activation-max", JUDGE]
    metrics = ["labels", "stability", "correlation", "semantics", "ms", JUDGE]
    return workspace.evaluate(metric=metrics, judge=JUDGE, features=features, k="2,3").details["tables"]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_tables_fit_at_every_width_with_the_verdict_first(workspace, tables, width):
    from pure_cli.views.virtual_neurons import as_table

    for table in tables:
        require_fit(table, width)
    varied = "0-3,5-11"  # 4 is constant there: a column for ties is more than 80 letters hold beside all others
    for clustering in workspace.virtual_neuron_tables(neurons=varied, k=[2, "auto"]):
        require_fit(as_table(clustering), width)


def test_every_metric_has_one_verdict_and_marks_the_best(tables):
    first = [table for table in tables if table["verdict"]]
    assert [table["metric"] for table in first] == list(dict.fromkeys(table["metric"] for table in tables))
    for table in first:
        best = table["rows"][table["best"]]
        assert str(best.get("features", best.get("units"))) in table["verdict"]
        if table["metric"] in (JUDGE, "semantics", "ms"):  # its own clusters are no match for the others
            assert not {best.get("features"), best.get("units")} & {JUDGE, f"by {JUDGE}"}


def test_csv_gives_the_numbers_back(tables):
    for table in tables:
        require_numbers(table)


def test_a_long_name_has_a_line_of_its_own_and_values_stay_in_columns():
    name = "pure-sqrt-l2@features.denseblock4.denselayer16.conv1"
    rows = [{"features": one, "r": [0.5, 0.01], "ari": 0.25, "low": -0.125, "high": 0.5} for one in ("pure", name)]
    table = {"title": "", "columns": ["features", "r", "ari"], "rows": rows, "note": "", "best": 1}
    lines = terminal_lines({**table, "intervals": {"ari": ("low", "high")}}, 60)
    assert lines == [
        f"{'features':21}  {'r':>13}  {'ari':>22}",
        f"{'pure':21}  0.500 ± 0.010  0.250 (-0.125 … 0.500)",
        f"{name} *",
        f"{'':21}  0.500 ± 0.010  0.250 (-0.125 … 0.500)",
    ]


def test_a_class_stays_with_its_count():
    rows = [{"neuron": 6, "sizes": "38 + 12", "classes": "8 (28, 7.6×), 6 (10, 2.6×) | 1 (9, 7.4×)"}]
    table = {"title": "", "columns": ["neuron", "sizes", "classes"], "rows": rows, "note": ""}
    lines = [line.strip() for line in terminal_lines(table, 45)]
    assert lines[1:] == ["6  38 + 12  8 (28, 7.6×), 6 (10, 2.6×) |", "1 (9, 7.4×)"]


@pytest.mark.parametrize("width", [80, 140])
def test_commands_print_no_line_that_is_too_long(workspace, cli, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for options in ("cluster --k auto", "info", "collect --list-layers", "evaluate --metric labels"):
        answer = cli(*options.split(), "-w", workspace.path)
        assert answer.code == 0, answer.err
        paths = ("  model", "  weights", "  images", "Workspace", "  tables")  # whole, to be copied
        assert [line for line in answer.out.splitlines() if len(line) > width and not line.startswith(paths)] == []


def test_json_has_images_scores_and_lower_channels_of_each_virtual_neuron(workspace, cli):
    table = cli("cluster", "-w", workspace.path, "--json").json["tables"][0]
    found = workspace.virtual_neurons(LAYER).clustering
    references = workspace.references(LAYER)
    for row in table["neurons"]:
        place = found.neuron.tolist().index(row["neuron"])
        for number, virtual in enumerate(row["virtual_neurons"]):
            own = found.label[place] == number
            assert [one["index"] for one in virtual["images"]] == references["image"][row["neuron"]][own].tolist()
            assert [one["score"] for one in virtual["images"]] == references["value"][row["neuron"]][own].tolist()
            assert all(one["path"].endswith(".png") for one in virtual["images"])
            (centroid,) = found.centroid[(found.virtual_neuron == row["neuron"]) & (found.cluster == number)]
            channels = [one["channel"] for one in virtual["lower_channels"]]
            assert channels == sorted(range(len(centroid)), key=lambda c: -abs(centroid[c]))[: len(channels)]
            assert {one["layer"] for one in virtual["lower_channels"]} == {"layer2"}
            assert [one["value"] for one in virtual["lower_channels"]] == centroid[channels].tolist()


@pytest.mark.parametrize(
    "arguments", [["info", "-w", "nowhere"], ["cluster", "--nosuch"], ["nosuch"], ["collect", "-n", "many"]]
)
def test_an_error_under_json_is_json_too(cli, arguments):
    answer = cli(*arguments, "--json")
    assert answer.code == 2 and answer.out.count("\n") == 1
    error = json.loads(answer.out)
    assert error["exit_code"] == 2
    assert " ".join(error["error"].split())[:20] in " ".join(answer.err.replace("│", " ").split())
    assert cli(*arguments).out == ""
