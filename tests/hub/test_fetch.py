import json

import pytest
from fake_hub import TOKEN, lay_into_cache

from pure_cli.errors import PureError, PureFailure
from pure_cli.hub.fetch import fetch, open_snapshot
from pure_cli.hub.names import Repo, parse_file, parse_repo

SMALL = ["*.json"]


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "repo"
    (folder / "more").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"a": 1}))
    (folder / "weights[1].bin").write_bytes(b"0123456789")
    (folder / "more" / "other.bin").write_bytes(b"9876543210")
    return folder


def test_names_of_repos_files_and_revisions():
    assert parse_repo("hf:a/b@v1") == Repo("a/b", revision="v1")
    assert parse_repo("hf:b").text == "hf:b"
    assert parse_repo("hf:a/b@refs/pr/3").revision == "refs/pr/3"
    assert parse_file("hf:a/b@v1/x/y.npz") == (Repo("a/b", revision="v1"), "x/y.npz")
    assert Repo("a/b", "dataset", "v1").download == "hf download a/b --repo-type dataset --revision v1"
    for odd in ("hf:", "hf:a/b/c", "hf:../b", "hf:a b"):
        with pytest.raises(PureError, match="no name of the hub"):
            parse_repo(odd)
    with pytest.raises(PureError, match="names no file"):
        parse_file("hf:a/b")


def test_what_is_wanted_is_fetched_and_no_more(hub, repo):
    commit = hub.put("a/b", repo)
    found = open_snapshot(parse_repo("hf:a/b"), SMALL)
    assert found.repo.revision == commit and found.complete
    assert list(found.names) == ["config.json", "more/other.bin", "weights[1].bin"]
    assert sorted(path.name for path in found.folder.rglob("*")) == ["config.json"]
    (weights,) = fetch(found, ["weights[1].bin"])
    assert weights.read_bytes() == b"0123456789"
    assert not (found.folder / "more").exists()


def test_a_commit_that_is_here_is_not_asked_for_again(hub, repo):
    commit = hub.put("a/b", repo)
    fetch(open_snapshot(parse_repo("hf:a/b"), SMALL), ["weights[1].bin"])
    hub.asked.clear()
    again = open_snapshot(parse_repo(f"hf:a/b@{commit}"), SMALL)
    assert again.complete
    fetch(again, ["weights[1].bin"])
    assert hub.asked == []


def test_the_newest_state_of_a_branch_is_found_and_the_one_before_stays(hub, repo):
    before = hub.put("a/b", repo)
    assert open_snapshot(parse_repo("hf:a/b"), SMALL).repo.revision == before
    (repo / "config.json").write_text("{}")
    after = hub.put("a/b", repo)
    found = open_snapshot(parse_repo("hf:a/b"), SMALL)
    assert found.repo.revision == after != before
    assert (open_snapshot(parse_repo(f"hf:a/b@{before}"), SMALL).folder / "config.json").read_text() == '{"a": 1}'


@pytest.mark.parametrize("said", [True, False])
def test_the_cache_is_enough_without_a_network(no_hub, repo, monkeypatch, said):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", said)
    commit = lay_into_cache(no_hub, "a/b", repo)
    found = open_snapshot(parse_repo("hf:a/b"), SMALL)
    assert found.repo.revision == commit and not found.complete
    assert fetch(found, ["more/other.bin"])[0].read_bytes() == b"9876543210"
    with pytest.raises(PureFailure, match=r"^absent.bin of hf:a/b@\w+ is not on this machine, and .*hf download a/b"):
        fetch(found, ["absent.bin"])


@pytest.mark.parametrize(("said", "why"), [(True, "HF_HUB_OFFLINE is set"), (False, "the hub cannot be reached")])
def test_without_cache_and_network_one_sentence_says_what_to_run(no_hub, monkeypatch, said, why):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", said)
    with pytest.raises(PureFailure) as caught:
        open_snapshot(parse_repo("hf:a/b"), SMALL)
    expected = f"hf:a/b is not on this machine, and {why}. Where there is a network, run `hf download a/b`."
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("guard", "sentence"),
    [
        (
            (403, "GatedRepo"),
            "hf:a/b is gated. Ask for access at {url}/a/b, then log in (`hf auth login`) or set HF_TOKEN.",
        ),
        (
            (401, "RepoNotFound"),
            "The hub has no model repo a/b that you may see (401). Check its name; if it is private, log in (`hf auth "
            "login`) or set HF_TOKEN.",
        ),
        (
            (403, ""),
            "The hub does not let you read hf:a/b (403). Use a token with the right to read it: log in (`hf auth "
            "login`) or set HF_TOKEN.",
        ),
        (
            (404, "RepoNotFound"),
            "The hub has no model repo a/b (404). Check its name; if it is private, log in (`hf auth login`) or set "
            "HF_TOKEN.",
        ),
        ((500, ""), "The hub answers hf:a/b with error 500. Try again later."),
    ],
)
def test_what_the_hub_refuses_is_one_sentence_and_the_token_lets_in(hub, repo, monkeypatch, guard, sentence):
    hub.put("a/b", repo, guard=guard)
    with pytest.raises(PureError) as caught:
        open_snapshot(parse_repo("hf:a/b"), SMALL)
    assert str(caught.value) == sentence.format(url=hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert open_snapshot(parse_repo("hf:a/b"), SMALL).complete


def test_a_wrong_token_is_not_shown(hub, repo, monkeypatch, caplog):
    hub.put("a/b", repo, guard=(401, "RepoNotFound"))
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrongwrong")
    with pytest.raises(PureFailure) as caught:
        open_snapshot(parse_repo("hf:a/b"), SMALL)
    assert "wrongwrong" not in f"{caught.value}{caplog.text}"


def test_a_revision_that_is_not_there_is_said(hub, repo):
    hub.put("a/b", repo)
    with pytest.raises(PureError, match=r"^a/b has no revision 'v9'. Leave out '@v9' or mend it\.$"):
        open_snapshot(parse_repo("hf:a/b@v9"), SMALL)
