"""pure choose: an address means one thing, everywhere."""

import json

import pytest

from pure_cli import PureError, Workspace
from pure_cli.config import settings_of
from pure_cli.settings.option import options_of


@pytest.fixture
def clustered(finished):
    assert finished.pure("cluster", "--k", "3", "--features", "pure,activation-max").code == 0
    return finished


def addresses(study):
    return [one.address for one in Workspace(study.workspace).virtual_neurons("layer3")]


def test_an_address_means_what_was_chosen(clustered):
    study = Workspace(clustered.workspace)
    assert (study.virtual_neurons("layer3").features, study.virtual_neurons("layer3").k) == ("pure", 2)
    with pytest.raises(PureError, match=r"no virtual neuron '3\.3'"):
        study["layer3/3.3"]
    answer = clustered.pure("choose", "--k", 3, "--json")
    assert answer.json["choices"] == {"layer3": {"features": "pure", "k": 3}} and answer.json["computed"] == 1
    assert study["layer3/3.3"].address == "layer3/3.3"
    ways = (study["layer3", "3.3"], study[f"{clustered.model}/layer3/3.3"], study["layer3", 3][2])
    assert len({(one.address, one.paths) for one in ways}) == 1
    out = clustered.folder / "x.csv"
    assert clustered.pure("export", "--neurons", "3.3", "-o", out).code == 0
    assert {line.split(",")[1] + line.split(",")[2] for line in out.read_text().splitlines()[1:]} == {"pure3"}
    assert clustered.pure("choose", "--features", "activation-max").code == 0
    assert study.virtual_neurons("layer3").features == "activation-max"
    assert clustered.pure("choose").out.count("these") == 1
    assert clustered.pure("choose", "--recipe", "paper", "--json").json["choices"]["layer3"]["k"] == 2


def test_figures_follow_what_was_chosen(clustered):
    assert clustered.pure("choose", "--features", "activation-max", "--k", 3).code == 0
    answer = clustered.pure("render", "--neurons", "layer3/3.2", "--json")
    (file,) = answer.json["files"]
    assert "activation-max-k3" in file and "0003" in file
    (file,) = clustered.pure("render", "--neurons", 3, "--k", 2, "--features", "pure", "--json").json["files"]
    assert "pure-k2" in file


def test_what_cannot_be_chosen_is_said(clustered, refused):
    refused(clustered.pure("choose", "--k", 7), "no virtual neurons by pure features with k = 7", "pure, k = 2")
    refused(clustered.pure("choose", "--recipe", "calibrated"), "not calibrated", "pure calibrate")
    refused(clustered.pure("choose", "--layer", "layer9"), "layer9")
    refused(clustered.pure("export", "--neurons", "other/layer3/1.1"), "of a model other")
    refused(clustered.pure("render", "--neurons", "layer3/1,2"), "Name the layer of each neuron or of none")
    for command in ("render", "assign", "export"):
        refused(clustered.pure(command, "--neurons", "1.7"), "no virtual neuron 1.7", "1.1 to 1.2")
    assert clustered.pure("choose", "--k", 3).code == 0
    file = clustered.workspace / "choice.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"layer3": {"features": "pure", "k": 2}}))
    refused(clustered.pure("choose"), "choice.json cannot be read", "pure choose --force")
    assert clustered.pure("choose", "--force").code == 0
    assert Workspace(clustered.workspace).virtual_neurons("layer3").k == 2


def test_a_choice_that_is_gone_is_no_other(clustered, refused):
    assert clustered.pure("choose", "--k", 3).code == 0
    clustered.file("cluster").unlink()
    assert clustered.pure("cluster").code == 0
    with pytest.raises(PureError, match="are not there any more"):
        Workspace(clustered.workspace)["layer3/3.1"]
    for told in (clustered.pure("choose"), clustered.pure("choose", "--features", "pure")):
        refused(told, "pure, k = 2")
    assert "are not there any more" in clustered.pure("info").err
    assert clustered.pure("choose", "--k", 2).code == 0


def test_info_says_what_addresses_mean_and_why(clustered):
    told = clustered.pure("info", "--json").json["addresses"]
    assert told == {"layer3": {"features": "pure", "k": 2, "how": "by default"}}
    assert clustered.pure("choose", "--k", 3).code == 0
    assert "layer3/NEURON.NUMBER: pure features, k = 3 (chosen)" in clustered.pure("info").out


def test_info_says_of_which_clustering_results_are_and_where_addresses_mean_another(clustered):
    assert clustered.pure("assign", "--neurons", 3, "--per-quantile", 2).code == 0
    assert clustered.pure("render", "--circuit", "3.1", "--depth", 1, "--crop", "none").code == 0

    def told():
        results = clustered.pure("info", "--json").json["results"]
        return [one["what"] for one in results if one["stage"] == "assign" or "circuits" in one["what"]]

    before = told()
    assert len(before) == 2 and all(one.endswith(", pure features, k = 2") for one in before)
    assert clustered.pure("choose", "--k", 3).code == 0
    assert told() == [f"{one}; addresses mean pure features with k = 3 now" for one in before]


@pytest.mark.parametrize("command", ["attribute", "cluster", "evaluate", "embed"])
def test_what_works_on_whole_neurons_promises_no_virtual_ones_and_says_so(clustered, refused, command):
    (neurons,) = (option for option in options_of(settings_of(command)) if option.name == "neurons")
    assert "201.2" not in neurons.help
    metric = ["--metric", "labels"] if command == "evaluate" else []
    refused(clustered.pure(command, *metric, "--neurons", "1.2"), "1.2 is a virtual neuron", "write 1")
