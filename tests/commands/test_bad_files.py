"""Files that are not what they should be: named in the error, never half-read, made again with --force."""

import json

import h5py
import numpy as np
import pytest

STAGES = ["collect", "attribute", "cluster"]
READERS = {"collect": ("attribute",), "attribute": ("cluster",), "cluster": ("render", "--neurons", 0)}


def random_bytes(content: bytes) -> bytes:
    return np.random.default_rng(0).bytes(4000)


def nothing(content: bytes) -> bytes:
    return b""


def first_half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def all_but_the_end(content: bytes) -> bytes:
    return content[:-100]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("spoil", [random_bytes, nothing, first_half, all_but_the_end])
def test_file_that_is_no_hdf5_is_named_with_the_way_to_make_it_again(finished, refused, stage, spoil):
    file = finished.file(stage)
    file.write_bytes(spoil(file.read_bytes()))
    refused(finished.pure(*READERS[stage]), file, f"pure {stage} --force")
    refused(finished.pure(stage), file, f"pure {stage} --force")
    told = finished.pure("info")
    assert told.code == 0
    assert str(file) in told.err
    again = finished.collect("--force") if stage == "collect" else finished.pure(stage, "--force")
    assert again.code == 0, again.err
    assert finished.pure(*READERS[stage]).code == 0


@pytest.mark.parametrize("stage", STAGES)
def test_hdf5_file_of_another_program(finished, refused, stage):
    with h5py.File(finished.file(stage), "w") as file:
        file["weights"] = np.zeros(3)
    refused(finished.pure(*READERS[stage]), finished.file(stage), "not written by pure", "--workspace")


@pytest.mark.parametrize("stage", STAGES)
def test_file_of_a_newer_pure(finished, refused, stage):
    with h5py.File(finished.file(stage), "r+") as file:
        file.attrs["schema"] = 999
    refused(finished.pure(*READERS[stage]), finished.file(stage), "999", "Update pure")


def drop_a_data_set(file: h5py.File) -> None:
    group = file["layers/layer3"]
    while "fingerprint" not in group.attrs:  # cluster.h5 has features and k in between
        group = group[next(iter(group))]
    del group[next(iter(group))]


def drop_the_fingerprints(file: h5py.File) -> None:
    def drop(name: str, node: h5py.HLObject) -> None:
        node.attrs.pop("fingerprint", None)

    file["layers"].visititems(drop)


def spoil_the_settings(file: h5py.File) -> None:
    def spoil(name: str, node: h5py.HLObject) -> None:
        if "settings" in node.attrs:
            node.attrs["settings"] = "{half"

    file["layers"].visititems(spoil)


def other_schema(file: h5py.File) -> None:
    file.attrs["schema"] = "one"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("spoil", [drop_a_data_set, drop_the_fingerprints, spoil_the_settings, other_schema])
def test_file_with_a_part_missing_is_named(finished, refused, stage, spoil):
    with h5py.File(finished.file(stage), "r+") as file:
        spoil(file)
    refused(finished.pure(*READERS[stage]), finished.file(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_flipped_bytes_are_found(finished, refused, stage):
    """Every data set has checksums: flipping any stored byte of an array must not pass unnoticed."""
    with h5py.File(finished.file(stage)) as file:
        group = file["layers/layer3"]
        array = {"collect": "image", "attribute": "image", "cluster": "pure/k2/label"}[stage]
        place = group[array].id.get_chunk_info(0).byte_offset
    content = bytearray(finished.file(stage).read_bytes())
    content[place] ^= 0xFF
    finished.file(stage).write_bytes(content)
    refused(finished.pure(*READERS[stage]), finished.file(stage), "damaged", f"pure {stage} --force")


def test_spoilt_index_of_figures_draws_them_again(finished):
    (finished.workspace / "figures" / "figures.json").write_text("[half")
    answer = finished.pure("render", "--neurons", 0, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["computed"] == 1
    assert json.loads((finished.workspace / "figures" / "figures.json").read_text())


def test_spoilt_unfinished_work_is_started_anew(study):
    partial = study.workspace / ".partial" / "collect"
    partial.mkdir(parents=True)
    (partial / "state.h5").write_bytes(b"half")
    assert study.collect().code == 0
