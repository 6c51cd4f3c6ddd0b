"""Bytes of a storage, whatever goes wrong on the way."""

import sys
from importlib import import_module

import pytest

from pure_cli.errors import PureError, PureFailure
from pure_cli.remote.faults import TRIES, Missing, fault_notes
from pure_cli.remote.storage import UNKNOWN, entries_below, entry_of, read

CONTENT = bytes(range(256)) * 400


@pytest.mark.parametrize("ill", [500, 503, "cut", "slow", "other range", "whole"])
def test_an_answer_that_is_wrong_is_asked_for_again_and_counted(bucket, proxy, impatient, ill):
    url = f"{bucket({'a.bin': CONTENT})}/a.bin"
    proxy.reset(ill, ill)
    assert read(url, 100, 60_000) == CONTENT[100:60_000]
    assert fault_notes() == ["The storage failed 2 times and was asked again."] and fault_notes() == []
    assert proxy.count("GET", "a.bin") == 3


def test_what_fails_for_ever_is_a_failure_that_names_the_url(bucket, proxy):
    url = f"{bucket({'a.bin': CONTENT})}/a.bin"
    proxy.reset(always=500)
    with pytest.raises(PureFailure, match=rf"{url}, though it was asked {TRIES} times") as failure:
        read(url, 0, 10)
    assert failure.value.exit_code == 1 and proxy.count("GET", "a.bin") == TRIES


def test_what_is_there_is_said_with_size_and_etag_and_a_listing_is_one_request(bucket, proxy):
    url = bucket({"x/1.jpg": b"one", "x/y/2.jpg": b"two two", "x/.hidden": b"", "z.jpg": b""})
    proxy.reset()
    found = entries_below(f"{url}/x")
    assert {name: entry.size for name, entry in found.items()} == {"1.jpg": 3, "y/2.jpg": 7}
    assert len(proxy.asked) == 1
    assert entry_of(f"{url}/x/1.jpg") == found["1.jpg"] and found["1.jpg"].mark and found["1.jpg"].time != UNKNOWN
    with pytest.raises(Missing):
        entry_of(f"{url}/none")


def test_a_wrong_bucket_and_a_protocol_that_is_none_are_said_at_once(proxy):
    with pytest.raises(PureError, match=r"no bucket for s3://no-such-bucket-here/x"):
        entries_below("s3://no-such-bucket-here/x")
    with pytest.raises(PureError, match="nonsense://"):
        entries_below("nonsense://x/y")


def test_without_credentials_the_message_says_how_to_give_them(proxy, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(PureError, match=r"no credentials for s3://b/x .*AWS_ACCESS_KEY_ID"):
        entries_below("s3://b/x")


@pytest.mark.parametrize(("url", "module", "extra"), [
    ("s3://b/x", "s3fs", "s3"), ("gs://b/x", "gcsfs", "gcs"), ("https://h/x.tar", "aiohttp", "https"),
])  # fmt: skip
def test_a_package_that_is_missing_is_named_by_its_extra(proxy, monkeypatch, url, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    known = import_module("fsspec.registry")._registry  # what was imported before
    monkeypatch.delitem(known, url.partition(":")[0], raising=False)
    with pytest.raises(PureError, match=rf"pip install 'pure-cli\[{extra}\]'"):
        entry_of(url)


def test_a_file_that_changes_while_it_is_read_is_no_mixture(bucket, proxy):
    url = f"{bucket({'a.bin': CONTENT})}/a.bin"
    mark = entry_of(url).mark
    bucket({"a.bin": CONTENT[::-1]})
    with pytest.raises(PureFailure, match="changed while it was read"):
        read(url, 0, 10, mark)


def test_of_a_web_server_ranges_and_etags_are_held_as_well(bucket, proxy):
    bucket({"a.bin": CONTENT})
    url = f"{proxy.url}/{bucket.name}/a.bin"
    entry = entry_of(url)
    assert entry.size == len(CONTENT) and entry.mark == entry_of(f"s3://{bucket.name}/a.bin").mark
    proxy.reset("other range", "cut", 503)
    assert read(url, 5, 5_000, entry.mark) == CONTENT[5:5_000]
    assert fault_notes() == ["The storage failed 3 times and was asked again."]
