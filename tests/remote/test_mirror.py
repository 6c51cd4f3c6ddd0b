"""Workspaces in a bucket."""

import pytest
from s3_server import arrays

from pure_cli import Workspace
from pure_cli.errors import PureError, PureFailure
from pure_cli.remote.mirror import Mirror


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes another machine of this one, with an empty cache."""

    def change(name):
        monkeypatch.setenv("PURE_CACHE", str(tmp_path / name))

    return change


def keys(bucket):
    return [one["Key"] for one in bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", [])]


def test_a_study_in_a_bucket_goes_on_on_another_machine(cli, inputs, images, bucket, machine, tmp_path):
    url = f"{bucket({})}/study"
    local = tmp_path / "local"
    for workspace in (url, local):
        answer = cli("collect", *inputs, "--data", images, "-w", workspace, "--workers", 0)
        assert answer.code == 0, answer.err
        assert ("no file locks" in answer.err) == (workspace == url)
    machine("two")
    for workspace in (url, local):
        assert cli("attribute", "--workers", 0, "-w", workspace).code == 0
    machine("three")
    told = cli("info", "-w", url, "--json").json
    assert [(one["stage"], one["stale"]) for one in told["results"]] == [("collect", None), ("attribute", None)]
    assert {"study/collect.h5", "study/attribute.h5"} <= set(keys(bucket))
    assert not [key for key in keys(bucket) if "data-index" in key or "/." in key]
    there = Mirror(url).root
    for name in ("collect.h5", "attribute.h5"):
        ours, theirs = arrays(there / name), arrays(local / name)
        assert all((ours[key] == theirs[key]).all() for key in theirs)


def test_what_is_the_same_is_neither_fetched_nor_given_again(bucket, proxy):
    mirror = Mirror(f"{bucket({'w/a.h5': b'old', 'w/b/c.txt': b'c'})}/w")
    with mirror.renewed():
        (mirror.root / "a.h5").write_bytes(b"newer")
    proxy.reset()
    with mirror.renewed():
        pass
    assert len(proxy.asked) == 1
    assert bucket.client.get_object(Bucket=bucket.name, Key="w/a.h5")["Body"].read() == b"newer"


def test_results_go_up_after_the_files_that_they_name_and_what_is_removed_goes(bucket, proxy):
    mirror = Mirror(f"{bucket({'w/gone.txt': b''})}/w")
    with mirror.renewed():
        (mirror.root / "z").mkdir()
        for name in ("collect.h5", "z/1.png", "z.csv"):
            (mirror.root / name).write_bytes(b"x")
        (mirror.root / "gone.txt").unlink()
        proxy.reset()
    assert [path.rpartition("/w/")[2].partition("?")[0] for method, path, _ in proxy.asked if method == "PUT"] == [
        "z.csv", "z/1.png", "collect.h5",
    ]  # fmt: skip
    assert keys(bucket) == ["w/collect.h5", "w/z.csv", "w/z/1.png"]


def test_what_was_finished_before_an_error_goes_up_too(bucket):
    mirror = Mirror(f"{bucket({})}/w")
    with pytest.raises(ZeroDivisionError), mirror.renewed():
        mirror.root.mkdir(parents=True)
        (mirror.root / "a.h5").write_bytes(b"x")
        raise ZeroDivisionError
    assert keys(bucket) == ["w/a.h5"]


def test_two_commands_at_once_do_not_overwrite_each_other_unseen(bucket, machine):
    url = f"{bucket({'w/a.h5': b'old'})}/w"
    one = Mirror(url)
    with pytest.raises(PureFailure, match=r"a.h5 changed by another command"), one.renewed():
        (one.root / "a.h5").write_bytes(b"one!")
        machine("two")
        with (two := Mirror(url)).renewed():
            (two.root / "a.h5").write_bytes(b"two!!")
    assert bucket.client.get_object(Bucket=bucket.name, Key="w/a.h5")["Body"].read() == b"two!!"
    with pytest.raises(PureError, match=r"was changed in .* and in its copy"):
        one.pull()


def test_parts_of_several_processes_stay_beside_each_other(bucket, machine):
    url = f"{bucket({})}/w"
    for name in ("one", "two"):
        machine(name)
        with (mirror := Mirror(url)).renewed(with_parts=False):
            (mirror.root / "parts").mkdir(parents=True, exist_ok=True)
            (mirror.root / "parts" / f"{name}.h5").write_bytes(name.encode())
        assert [path.name for path in (mirror.root / "parts").iterdir()] == [f"{name}.h5"]
    machine("three")
    with (mirror := Mirror(url)).renewed():
        assert sorted(path.name for path in (mirror.root / "parts").iterdir()) == ["one.h5", "two.h5"]
    mirror.pull(with_parts=False)
    assert keys(bucket) == ["w/parts/one.h5", "w/parts/two.h5"]


def test_a_file_that_was_cut_off_on_its_way_up_is_the_old_one(bucket, proxy):
    mirror = Mirror(f"{bucket({'w/a.h5': b'old'})}/w")
    mirror.pull()
    (mirror.root / "a.h5").write_bytes(b"newer")
    proxy.reset(always=500)
    with pytest.raises(PureFailure, match=r"/a\.h5"):
        mirror.push()
    proxy.reset()
    assert bucket.client.get_object(Bucket=bucket.name, Key="w/a.h5")["Body"].read() == b"old"
    mirror.push()
    assert bucket.client.get_object(Bucket=bucket.name, Key="w/a.h5")["Body"].read() == b"newer"


def test_a_command_that_ended_before_it_noted_what_it_gave_is_no_conflict(bucket, proxy):
    mirror = Mirror(f"{bucket({'w/a.h5': b'old'})}/w")
    mirror.pull()
    (mirror.root / "a.h5").write_bytes(b"newer")
    state = (mirror.root / ".mirror.json").read_bytes()
    mirror.push()
    (mirror.root / ".mirror.json").write_bytes(state)
    mirror.pull()
    proxy.reset()
    mirror.push()
    assert not proxy.asked


def test_a_bucket_that_is_not_there_is_said(cli, proxy):
    answer = cli("info", "-w", "s3://no-such-bucket-here/study")
    assert answer.code == 2 and answer.err.startswith("Error: There is no bucket for s3://no-such-bucket-here/study.")


def test_results_notes_and_errors_call_the_workspace_by_its_url(cli, inputs, images, bucket, machine, tmp_path):
    url = f"{bucket({})}/study"
    cache = str(tmp_path / "cache")

    def told(*command):
        answer = cli(*command, "-w", url)
        assert cache not in answer.out + answer.err
        return answer

    assert f"There is no workspace {url}." in told("attribute").err
    assert told("collect", *inputs, "--data", images, "--workers", 0, "--json").json["workspace"] == url
    assert told("attribute", "--workers", 0).code == 0
    assert f"The workspace {url} has no virtual neurons." in told("render", "--neurons", 0).err
    assert told("cluster").code == 0
    drawn = told("render", "--neurons", 0, "--json").json
    assert drawn["folder"] == f"{url}/figures"
    (file,) = drawn["files"]
    assert file.startswith(f"{url}/figures/") and file.removeprefix(f"s3://{bucket.name}/") in keys(bucket)
    assert file in told("render", "--neurons", 0).out
    assert Workspace(url).local(file) == Mirror(url).root / file.removeprefix(f"{url}/")
    outside = cli("render", "--neurons", 0, "-w", url, "--out", tmp_path / "own", "--json").json["files"]
    assert [Workspace(url).local(one).parent.parent for one in outside] == [tmp_path / "own"]
    with pytest.raises(PureError, match=f"in {url}"):
        Workspace(url).merge(stage=["collect"], progress=False)


def test_an_error_of_this_machines_disk_names_the_copy_too(bucket):
    url = f"{bucket({'w/collect.h5': b'no HDF5'})}/w"
    copy = Mirror(url).root
    with pytest.raises(PureError) as raised:
        Workspace(url).references("layer3")
    assert str(raised.value).startswith(f"{url}/collect.h5 is no readable HDF5 file")
    assert str(raised.value).endswith(f" Its copy on this machine is {copy}.")


def test_two_workspaces_in_a_bucket_are_compared_and_called_by_their_urls(
    cli, inputs, images, bucket, machine, tmp_path
):
    one, other = (f"{bucket({})}/{name}" for name in ("one", "other"))
    for url in (one, other):
        assert cli("collect", *inputs, "--data", images, "--workers", 0, "-w", url).code == 0
    answer = cli("compare", one, f"{other}/", "--by", "images")
    assert answer.code == 0 and f"all matches and figures in {one}/compare/layer3-in-other-" in answer.out
    assert str(tmp_path / "cache") not in answer.out + answer.err
    machine("two")
    again = cli("compare", one, other, "--by", "images", "--json").json
    assert again["up_to_date"] and again["workspace"] == one
    assert f"There is no workspace {one}er." in cli("compare", one, f"{one}er").err


def test_the_demo_makes_no_folder_of_a_url(cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    answer = cli("demo", "-w", "s3://bucket/demo")
    assert answer.code == 2 and "s3://bucket/demo is no folder of this machine" in answer.err
    assert not list(tmp_path.iterdir())
