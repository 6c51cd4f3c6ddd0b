"""The command line on data by URL: the references of local files, faults told, secrets nowhere."""

import sys
from pathlib import Path

import numpy as np
import pytest
from s3_server import KEY, SECRET, arrays

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from made_sources import Made, tar_shards
from typer.testing import CliRunner

from pure_cli.app import app


@pytest.fixture
def shards(images, tmp_path):
    return tar_shards(Made(images), tmp_path / "shards")


@pytest.fixture
def url(bucket, shards):
    return f"{bucket({f'd/{file.name}': file.read_bytes() for file in shards.iterdir()})}/d"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("size", ["1GB", "0"])
def test_references_are_those_of_the_local_files(cli, inputs, shards, url, tmp_path, monkeypatch, workers, size):
    monkeypatch.setenv("PURE_CACHE_SIZE", size)
    for place, name in ((shards, "local"), (url, "remote")):
        answer = cli(
            "collect", *inputs, "--data", place, "-w", tmp_path / name, "--workers", workers, "--batch-size", 40
        )
        assert answer.code == 0, answer.err
    ours, theirs = arrays(tmp_path / "remote" / "collect.h5"), arrays(tmp_path / "local" / "collect.h5")
    differ = [name for name in theirs if not np.array_equal(ours[name], theirs[name])]
    assert ours.keys() == theirs.keys() and all(name.endswith(("time", "times")) for name in differ), differ


def test_stages_on_a_url_are_up_to_date_until_an_etag_changes(cli, inputs, shards, bucket, url, proxy, tmp_path):
    def pure(command, *options):
        answer = cli(command, *options, "-w", tmp_path / "w")
        assert answer.code == 0, answer.err
        return answer

    pure("collect", *inputs, "--data", url, "--workers", 0)
    pure("attribute", "--workers", 0)
    pure("cluster")
    pure("render", "--neurons", 0)
    proxy.reset()
    assert "up to date" in pure("attribute").err + pure("attribute").out
    assert len(proxy.asked) == 2 and proxy.sent < 5_000
    content = bytearray((shards / "part-001.tar").read_bytes())
    content[-1] ^= 1
    bucket({"d/part-001.tar": bytes(content)})
    answer = cli("attribute", "-w", tmp_path / "w")
    assert answer.code == 2 and "part-001.tar:" in answer.err and "Run `pure collect` again" in answer.err


@pytest.mark.parametrize("workers", [0, 2])
def test_faults_are_told_in_one_sentence(cli, inputs, url, proxy, tmp_path, workers, monkeypatch):
    monkeypatch.setenv("PURE_CACHE_SIZE", "0")
    proxy.reset("", 500, "cut", 503)
    answer = cli("collect", *inputs, "--data", url, "-w", tmp_path / "w", "--workers", workers, "--batch-size", 40)
    assert answer.code == 0 and "The storage failed 3 times and was asked again." in answer.err + answer.out


@pytest.mark.parametrize("workers", [0, 2])
def test_a_storage_that_fails_for_ever_ends_the_command(cli, inputs, url, proxy, tmp_path, workers, monkeypatch):
    monkeypatch.setenv("PURE_CACHE_SIZE", "0")
    assert cli("collect", *inputs, "--data", url, "-w", tmp_path / "w", "--workers", workers).code == 0
    proxy.reset(always=503)
    answer = cli("collect", *inputs, "--data", url, "-w", tmp_path / "w", "--workers", workers, "--force")
    assert answer.code == 1 and answer.err.count("\n") == 1 and not answer.out
    assert answer.err.startswith(f"Error: The storage did not give {url}, though it was asked 8 times")


def test_secrets_reach_no_file_and_no_output(cli, inputs, bucket, url, proxy, tmp_path, monkeypatch):
    signed = bucket.client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket.name, "Key": "d/part-000.tar"}, ExpiresIn=600
    ).replace(f"{bucket.client.meta.endpoint_url}", proxy.url)
    secrets = [signed.rpartition("ignature=")[2].partition("&")[0], SECRET, KEY, "hunter2"]
    assert len(secrets[0]) > 20
    with_password = f"{proxy.url}/{bucket.name}/d/part-001.tar".replace("://", "://me:hunter2@")
    said = []
    for place, code in (
        (signed, 0),
        (with_password, 0),
        (url, 0),
        (signed.replace("000", "no"), 2),
        ("s3://none/x?token=hunter2", 2),
    ):
        workspace = tmp_path / f"w{len(said)}"
        command = ["collect", *inputs, "--data", place, "-w", workspace, "--workers", 0]
        for options in ((), ("--json",)):
            answer = cli(*command, *options)
            said.append(answer.out + answer.err)
        said.append(CliRunner().invoke(app, [*map(str, command), "--debug"]).output)
        assert answer.code == code, answer.err
    monkeypatch.setenv("PURE_DATA", signed)
    for command in (("info",), ("attribute", "--workers", 0)):
        answer = cli(*command, "-w", tmp_path / "w0")
        said.append(answer.out + answer.err)
        assert answer.code == 0, answer.err
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    for secret in secrets:
        assert not [text for text in said if secret in text]
        assert not [file for file in files if secret.encode() in file.read_bytes() or secret in file.name]
