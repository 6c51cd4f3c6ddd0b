"""What is remembered of a URL."""

import pytest

from pure_cli.remote.urls import is_url, joined, name_of, scrubbed, whole, without_secrets


@pytest.mark.parametrize(("url", "shown"), [
    ("s3://bucket/a b/x.tar", "s3://bucket/a b/x.tar"),
    ("https://host/x.tar?download=1", "https://host/x.tar?download=1"),
    ("https://me:word@host:80/x.tar", "https://host:80/x.tar"),
    ("https://host/x.tar?X-Amz-Signature=abc&X-Amz-Date=1&versionId=3", "https://host/x.tar?versionId=3"),
    ("https://host/x.tar?sv=2022&sig=a%2Bb", "https://host/x.tar?sv=2022"),
    ("https://host/x.tar?token=t#train", "https://host/x.tar#train"),
    ("https://host/x.tar?u=0123456789012345678901234567890123456789", "https://host/x.tar"),
    ("ftp://me:word@host/x", "ftp://host/x"),
])  # fmt: skip
def test_secrets_are_left_out_and_known_to_the_process(url, shown):
    assert without_secrets(url) == shown and without_secrets(shown) == shown
    assert whole(shown) == url and name_of(url) in ("x.tar", "x", "x.tar#train")
    assert "word" not in scrubbed(f"cannot open '{url}' today") and "abc" not in scrubbed(f"url={url}")


def test_what_lies_below_a_url_has_its_secrets():
    shown = without_secrets("https://me:word@other/d/a-{0..2}.tar?sig=s1gned")
    assert shown == "https://other/d/a-{0..2}.tar"
    assert whole("https://other/d/a-1.tar") == "https://me:word@other/d/a-1.tar?sig=s1gned"
    assert whole("https://other/e/a-1.tar") == "https://other/e/a-1.tar"
    assert whole("https://others/d/a-1.tar") == "https://others/d/a-1.tar"


def test_secrets_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("PURE_DATA", "https://third/x.tar?token=t0ken")
    assert whole("https://third/x.tar") == "https://third/x.tar?token=t0ken"


def test_what_is_a_url():
    assert [is_url(text) for text in ("s3://b", "hf:name", "hf://datasets/x", "C:/x", "a/b://c", "x.tar", "s3:/b")] == [
        True, True, True, False, False, False, False,
    ]  # fmt: skip
    assert (
        joined("https://h/d/?v=1", "x.tar") == "https://h/d/x.tar?v=1" and joined("s3://b/d", "e/f") == "s3://b/d/e/f"
    )
