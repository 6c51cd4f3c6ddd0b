"""Lists of concepts: what is read, and one sentence for each thing that can be wrong."""

import codecs
import json

import pytest

from pure_cli.concepts import Concepts, read_concepts, read_templates
from pure_cli.errors import PureError


def written(folder, name, content):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "dog\n\n  sea   lion \r\ncat"),
        ("a.txt", codecs.BOM_UTF8 + b"dog\nsea lion\ncat\n"),
        ("a.txt", "dog\nsea lion\ncat\n".encode("utf-16")),
        ("a.csv", "name\ndog\nsea lion\n,\ncat\n"),
        ("a.csv", 'dog\n"sea lion"\ncat'),
        ("a.json", '["dog", "sea lion", "cat", ""]'),
    ],
)
def test_every_form_of_a_plain_list_gives_the_same_concepts(tmp_path, name, content):
    concepts, notes = read_concepts(written(tmp_path, name, content))
    assert concepts == Concepts(("dog", "sea lion", "cat"), (("dog",), ("sea lion",), ("cat",)))
    assert notes == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "name,texts\ndog,dog,puppy\ncat,,"),
        ("a.tsv", "name\tone\ttwo\ndog\tdog\tpuppy\ncat"),
        ("a.json", '[{"name": "dog", "texts": ["dog", "puppy"]}, "cat"]'),
        ("a.json", '{"dog": ["dog", "puppy"], "cat": "cat"}'),
    ],
)
def test_texts_of_a_concept_stand_for_it_in_the_place_of_its_name(tmp_path, name, content):
    concepts, _ = read_concepts(written(tmp_path, name, content))
    assert concepts == Concepts(("dog", "cat"), (("dog", "puppy"), ("cat",)))


def test_a_concept_that_comes_again_counts_once_with_the_texts_of_both(tmp_path):
    concepts, notes = read_concepts(written(tmp_path, "a.csv", "dog,hound\ncat\nDog,puppy\ncat"))
    assert concepts == Concepts(("dog", "cat"), (("hound", "puppy"), ("cat",)))
    assert notes == ["a.csv names 2 concepts again; each counts once, with all its texts."]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "\n \n", r"names no concepts. Write one to a line"),
        ("a.txt", "dog\ncaf\xe9\n".encode("latin-1"), r"not in UTF-8 \(line 2 has the byte 0xe9\). Save it as UTF-8"),
        ("a.txt", b"PK\x03\x04\x00\x00", "is no text"),
        ("a.csv", '"dog\ncat', "cannot be read as a table"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "3", "holds no list of concepts"),
        ("a.json", '[{"texts": ["dog"]}]', r'a concept that is none: \{"texts": \["dog"\]\}'),
        ("a.json", '{"dog": 3}', "a concept that is none"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence(tmp_path, name, content, message):
    with pytest.raises(PureError, match=message):
        read_concepts(written(tmp_path, name, content))


def test_a_missing_file_and_an_unknown_list_are_named(tmp_path):
    with pytest.raises(PureError, match=r"nowhere\.txt cannot be read: No such file"):
        read_concepts(tmp_path / "nowhere.txt")
    with pytest.raises(PureError, match=r"Unknown list of concepts 'imagnet'. Did you mean 'imagenet'"):
        read_concepts("imagnet")


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    concepts, _ = read_concepts(written(tmp_path, "a.json", json.dumps(["dog\x1b[31m"])))
    assert concepts.names == ("dog\\x1b[31m",)


def test_imagenet_has_its_thousand_classes_in_order_each_with_another_name():
    concepts, _ = read_concepts("imagenet")
    assert len(concepts) == len(set(concepts.names)) == 1000
    assert [concepts.names[i] for i in (0, 1, 207, 657, 744, 999)] == [
        *("tench", "goldfish", "Golden Retriever", "missile", "projectile", "toilet paper")
    ]


def test_words_are_many_nouns_each_once():
    concepts, _ = read_concepts("words")
    assert 20_000 < len(concepts) < 21_841
    assert len({name.casefold() for name in concepts.names}) == len(concepts)
    assert {"dog", "fur", "wheel", "crane"} <= set(concepts.names)


def test_templates_by_name_and_as_they_are():
    assert read_templates(["plain", "a sketch of a {}", "plain"]) == ("{}", "a sketch of a {}")
    assert len(read_templates(["openai"])) == 80
    assert set(read_templates(["simple"])) <= set(read_templates(["openai"]))
    assert all(sentence.count("{}") == 1 for sentence in read_templates(["openai"]))
    with pytest.raises(PureError, match=r"The template 'photo of' has no \{\} for the concept"):
        read_templates(["photo of"])
