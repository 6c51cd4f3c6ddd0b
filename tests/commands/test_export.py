"""pure export: every reference of every virtual neuron, once, as the files of the workspace have it."""

import csv
import math

import h5py
import numpy as np
import pytest


@pytest.fixture
def clustered(study):
    study.to("cluster")
    assert study.pure("cluster", "--k", "3", "--features", "activation-max", "--neurons", "0-3").code == 0
    return study


def expected(study, features, k):
    """By a plain loop over the files."""
    with h5py.File(study.file("collect")) as collect, h5py.File(study.file("cluster")) as cluster:
        paths = dict(zip(collect["images/index"][:].tolist(), collect["images/path"].asstr()[:], strict=True))
        labels = dict(zip(collect["images/index"][:].tolist(), collect["images/label"][:].tolist(), strict=True))
        names = collect["labels/name"].asstr()[:]
        top = {name: collect[f"layers/layer3/{name}"][:] for name in ("image", "value")}
        group = cluster[f"layers/layer3/{features}/k{k}"]
        for neuron, own in zip(group["neuron"][:].tolist(), group["label"][:], strict=True):
            for virtual in range(own.max() + 1):
                for slot in np.flatnonzero(own == virtual).tolist():
                    image = int(top["image"][neuron, slot])
                    yield {
                        "address": f"layer3/{neuron}.{virtual + 1}", "features": features, "k": str(k),
                        "index": str(image), "path": paths[image], "share": (own == virtual).sum() / (own >= 0).sum(),
                        "score": float(top["value"][neuron, slot]), "label": str(labels[image]),
                        "class": names[labels[image]],
                    }  # fmt: skip


def rows(file):
    with file.open(newline="", encoding="utf-8") as text:
        return [{**row, **{name: float(row[name]) for name in ("score", "share")}} for row in csv.DictReader(text)]


def test_every_clustering_is_there(clustered):
    answer = clustered.pure("export", "--json")
    found = rows(clustered.workspace / "virtual-neurons.csv")
    wanted = [*expected(clustered, "activation-max", 3), *expected(clustered, "pure", 2)]
    assert found == wanted and answer.json["computed"] == len(wanted) > 50
    shares = {(row["address"], row["features"]): row["share"] for row in found}
    assert math.isclose(sum(shares.values()), len({(a.partition(".")[0], f) for a, f in shares}))


def test_one_is_chosen_as_parquet_or_in_python(clustered):
    import pyarrow.parquet

    from pure_cli import Workspace

    out = clustered.folder / "new" / "some.parquet"
    options = ("--features", "activation-max", "--neurons", "1,3", "--layer", "layer3")
    assert clustered.pure("export", "-o", out, *options, "--k", 3).code == 0
    found = pyarrow.parquet.read_table(out).to_pydict()
    assert [row["address"] for row in expected(clustered, "activation-max", 3) if "/1." in row["address"]] == [
        address for address in found["address"] if "/1." in address
    ]
    assert {address.partition("/")[2].partition(".")[0] for address in found["address"]} == {"1", "3"}
    every = Workspace(clustered.workspace).members(features=["activation-max"], neurons="all")
    assert {address.partition("/")[2].partition(".")[0] for address in every["address"]} == {"0", "1", "2", "3"}
    again = Workspace(clustered.workspace).members(features=["activation-max"], neurons="1,3", k=["3"])
    assert {name: list(map(str, values)) for name, values in again.items()} == {
        name: list(map(str, values)) for name, values in found.items()
    }


def test_what_is_not_there_or_stale_is_refused(clustered, refused):
    refused(clustered.pure("export", "--k", 7), "Unknown k of a clustering '7'", "2")
    refused(clustered.pure("export", "--features", "activation-max", "--neurons", "0-5"), "2 of the neurons", "cluster")
    refused(clustered.pure("export", "--features", "activation-max", "--k", 2), "No clustering has all")
    refused(clustered.pure("export", "-o", "x.xls"), ".csv or .parquet")
    clustered.change_weights()
    assert clustered.collect().code == 0
    refused(clustered.pure("export"), "stale", "pure attribute")
