"""Images that changed on the disk since they were collected are named, whatever it is that tells it."""

import io
import os
import shutil
import subprocess
import sys
import tarfile

import h5py
import numpy as np
import pytest

from pure_cli.data.content import UNREAD, content_of, contents
from pure_cli.data.listing import list_images
from pure_cli.data.loader import batches
from pure_cli.stages.inputs import freshness as unchanged

STAGES = ["collect", "attribute", "cluster", "render"]


def replaced(study, keep_time: bool):
    """The largest image now has the pixels of another one, in as many bytes; returns the path."""
    *_, other, largest = sorted(study.data.rglob("*.png"), key=lambda path: path.stat().st_size)
    before = largest.stat()
    largest.write_bytes(other.read_bytes().ljust(before.st_size, b"\0"))  # nobody reads on behind the end of a PNG
    time = before.st_mtime_ns if keep_time else before.st_mtime_ns + 10**9
    os.utime(largest, ns=(time, time))
    assert largest.stat().st_size == before.st_size
    return largest


def statuses(study, *options):
    return {result["stage"]: result["stale"] for result in study.pure("info", "--json", *options).json["results"]}


def test_an_image_with_another_time_and_content_is_named(finished, refused):
    image = replaced(finished, keep_time=False)
    for stage in STAGES[1:]:
        refused(finished.pure(stage), "the images changed", image.name, "Run `pure collect` again")
    assert statuses(finished) == dict.fromkeys(STAGES, "the images changed")
    assert f"1 image changed on disk since the references were collected: {image.parent.name}/{image.name}" in (
        finished.pure("info").err
    )


def test_a_collect_after_that_reads_the_images_again_and_what_follows_is_made_anew(finished, refused):
    replaced(finished, keep_time=False)
    again = finished.collect()
    assert "replaced: the images changed" in again.err
    refused(finished.pure("cluster"), "stale", "Run `pure attribute` again")
    finished.to("render")
    assert set(statuses(finished, "--verify").values()) == {None}


def test_an_image_that_keeps_size_and_time_is_found_by_its_content(finished, refused):
    image = replaced(finished, keep_time=True)
    assert set(statuses(finished).values()) == {None}
    assert statuses(finished, "--verify") == dict.fromkeys(STAGES, "the images changed")
    for command in (["attribute"], ["cluster"], ["render"], ["evaluate", "--metric", "stability"]):
        refused(finished.pure(*command, "--verify"), image.name, "Run `pure collect --verify` again")
    assert "up to date" in finished.collect().out
    assert "replaced: the images changed" in finished.collect("--verify").err
    assert "up to date" in finished.collect("--verify").out


def test_images_of_another_size_are_named(finished, refused):
    names = []
    for number in range(5):
        image = finished.image(number)
        image.write_bytes(image.read_bytes() + b"\0")
        names.append(f"{image.parent.name}/{image.name}")
    refused(finished.pure("attribute"), "the images changed", ", ".join(names[:3]), "and 2 more")


def test_a_copied_data_set_with_new_times_is_the_same(finished):
    shutil.copytree(finished.data, finished.folder / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(finished.data)
    shutil.move(finished.folder / "copy", finished.data)
    assert set(statuses(finished).values()) == {None}
    assert finished.pure("attribute").code == finished.pure("cluster").code == 0
    before = times(finished)
    assert "up to date" in finished.collect().out
    assert (times(finished) != before).all()
    listing = list_images(finished.data)
    assert (times(finished) == listing.times).all()


def times(study):
    with h5py.File(study.file("collect")) as file:
        return file["seen/time"][:]


def test_of_many_images_with_new_times_some_are_compared_and_the_user_is_told(finished, monkeypatch, refused):
    monkeypatch.setattr(unchanged, "COMPARED", 4)
    for number in range(24):
        os.utime(finished.image(number))
    told = finished.pure("info").err
    assert "24 images have another time of change" in told and "4 were compared" in told
    assert "another time" not in finished.pure("info", "--verify").err
    with h5py.File(finished.file("collect")) as file:
        assert len(file["images/index"]) < 24
        reference = file["images/path"][0].decode()
    image = finished.data / reference
    image.write_bytes(image.read_bytes()[::-1])
    refused(finished.pure("attribute"), reference)  # references come first


def test_an_image_that_is_gone_or_cannot_be_read_any_more_counts_as_changed(finished, refused, tmp_path):
    archive = tmp_path / "list.txt"
    archive.write_text("\n".join(str(path.relative_to(tmp_path)) for path in sorted(finished.data.rglob("*.png"))))
    other = finished.pure("collect", *finished.inputs, "--data", archive, "--workers", 0, "-w", tmp_path / "other")
    assert other.code == 0, other.err
    image = finished.image(3)
    image.unlink()
    refused(finished.pure("attribute", "-w", tmp_path / "other"), "the images changed", image.name)


def test_an_image_that_changed_in_a_tar_is_named(study, refused, tmp_path):
    *_, other, image = sorted(study.data.rglob("*.png"), key=lambda path: path.stat().st_size)
    content = other.read_bytes().ljust(image.stat().st_size, b"\0")
    pack = ["tar", "--sort=name", "-cf", tmp_path / "a.tar", "-C", study.data, "."]
    subprocess.run(pack, check=True)
    workspace = ("-w", tmp_path / "of-a-tar")
    assert study.pure("collect", *study.inputs, "--data", tmp_path / "a.tar", "--workers", 0, *workspace).code == 0
    image.write_bytes(content)
    subprocess.run(pack, check=True)
    refused(study.pure("attribute", *workspace), "the images changed", image.name, "Run `pure collect` again")


def test_what_a_layer_found_before_is_dropped_where_a_later_pass_sees_other_images(finished):
    assert finished.pure("collect", "--layer", "layer1").code == 0
    image = replaced(finished, keep_time=True)
    again = finished.pure("collect", "--layer", "layer2")
    assert again.code == 0
    assert "The earlier references of 'layer1' were dropped: the images changed." in again.err
    assert image.exists() and {r["layer"] for r in finished.pure("info", "--json").json["results"][:1]} == {"layer2"}


def test_a_damaged_image_counts_as_seen(study):
    study.image(0).write_bytes(b"no image")
    study.to("collect")
    with h5py.File(study.file("collect")) as file:
        content = file["seen/content"][:]
    assert (content == UNREAD).tolist() == [True] + [False] * 23
    assert set(statuses(study, "--verify").values()) == {None}


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_says_what_is_in_the_images(study, workers):
    from pure_cli.core.preprocessing import Preprocessing

    study.image(2).write_bytes(b"no image")
    listing = list_images(study.data)
    prepared = Preprocessing(resize=16, crop_size=16)
    found = [batch.content for batch in batches(listing, listing.index, prepared, 5, workers, with_content=True)]
    expected = contents(listing, listing.index)
    expected[2] = UNREAD
    assert np.concatenate(found).tolist() == expected.tolist()
    assert len(set(expected.tolist())) == 24


def test_content_is_that_of_bytes_files_and_pixels(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x" * 3_000_000)
    assert content_of(tmp_path / "a.png") == content_of(b"x" * 3_000_000) != content_of(b"x" * 2_999_999)
    pixels = np.arange(24, dtype=np.uint8)
    assert content_of(pixels.reshape(4, 6)) != content_of(pixels.reshape(6, 4))
    assert content_of(pixels.reshape(4, 6)) == content_of(np.asfortranarray(pixels.reshape(4, 6)))
    assert content_of(b"") != UNREAD


def test_images_out_of_one_file_are_read_one_at_a_time(tmp_path):
    images = {f"class{i % 2}/{i:04d}.png": bytes([i % 251]) * (3000 + i) for i in range(400)}
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in images.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    listing = list_images(tmp_path / "a.tar")
    expected = [content_of(images[path.partition(":")[2]]) for path in listing.paths]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        found = [contents(listing, listing.index).tolist() for _ in range(5)]
    finally:
        sys.setswitchinterval(before)
    assert found == [expected] * 5
