"""The README and docs/: their examples run, their links lead somewhere, and the README stays short.

A block is run unless ``<!-- not run: why -->`` stands before it; then its commands are parsed, its Python compiled.
``<!-- needs: PACKAGE -->`` runs it where that package is. A block whose first line is ``# NAME`` is the file NAME.
"""

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
NAMES = [document.name for document in DOCUMENTS]
MOST_WORDS = 1200  # of the README
REPEATED = 30  # words in a row that stand in two places

FENCE = re.compile(r"^(?:<!-- (not run|needs): ([^>]+) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)|<img src=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FILE_NAME = re.compile(r"# ([\w-]+\.(?:py|yaml))\n")
SHELL = ("console", "bash", "sh")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    kind: str
    text: str
    why_not: str = ""  # it is not run

    @property
    def file(self) -> str:
        """The file that it is; "" where it is none."""
        named = FILE_NAME.match(self.text)
        return named[1] if named else ""

    @property
    def commands(self) -> list[list[str]]:
        """The command lines of a shell's block, in words; what is printed between lines with ``$`` is left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        parts = [part for line in lines for part in line.split(" && ")]
        return [words for part in parts if (words := shlex.split(part, comments=True))]


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(document: Path) -> Iterator[Block]:
    for marker, what, kind, text in FENCE.findall(text_of(document)):
        missing = marker == "needs" and find_spec(what.strip()) is None
        yield Block(kind, text, what if missing or marker == "not run" else "")


@pytest.fixture(params=DOCUMENTS, ids=NAMES)
def document(request) -> Path:
    return request.param


def make_it_small(patch: pytest.MonkeyPatch) -> None:
    """``pure demo`` takes 500 of its images and draws one figure; images are decoded in this process."""
    from pure_cli.demo.images import write_digits

    patch.setattr("pure_cli.demo.images.write_digits", lambda folder, split: write_digits(folder, split="held-out"))
    patch.setattr("pure_cli.commands.demo.SHOWN", 1)
    patch.setattr("pure_cli.data.loader.cores", lambda: 1)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """What ``pure demo`` writes."""
    from typer.testing import CliRunner

    from pure_cli.app import app

    folder = tmp_path_factory.mktemp("demo") / "pure-demo"
    with pytest.MonkeyPatch.context() as patch:
        make_it_small(patch)
        result = CliRunner().invoke(app, ["demo", "-w", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def beside_demo(demo, tmp_path, monkeypatch) -> Path:
    """The working directory, with ``pure-demo`` in it."""
    import matplotlib
    import matplotlib.cm

    if not hasattr(matplotlib.cm, "get_cmap"):  # overcomplete 0.3 asks for it, matplotlib 3.9 took it away
        monkeypatch.setattr(matplotlib.cm, "get_cmap", matplotlib.colormaps.__getitem__, raising=False)
    make_it_small(monkeypatch)
    monkeypatch.setenv("RANK", "0")  # of --part auto
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo, tmp_path / "pure-demo")
    return tmp_path


def parse(arguments: list[str]) -> None:
    """Hold a command line against the app, without running it."""
    from pure_cli import config
    from pure_cli.commands.usage import whole
    from pure_cli.registry import COMMANDS

    name, *rest = arguments
    found = whole(name, COMMANDS[name]).make_context(name, rest).params
    if name in config.stage_names():
        given = {option: found[option] for option in config.known_options(name) if found[option] not in (None, ())}
        config.make(name, {**({"model": "m.py:f", "data": "."} if name == "collect" else {}), **given})


def run(document: Path, cli) -> tuple[dict, str]:
    """All blocks of a document, in order; what its Python knows at the end, and what its commands printed."""
    namespace: dict = {"__name__": "example"}
    printed = ""
    for block in blocks(document):
        if block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.kind == "python":
            code = compile(block.text, f"{document.name}: {block.text.splitlines()[0]}", "exec")
            if not block.why_not:
                exec(code, namespace)
        elif block.kind in SHELL:
            for program, *arguments in block.commands:
                if program != "pure":
                    continue
                if block.why_not:
                    parse(arguments)
                    continue
                answer = cli(*arguments)
                assert answer.code == 0, f"pure {shlex.join(arguments)}: {answer.err}"
                printed += answer.out + answer.err
    return namespace, printed


@pytest.mark.parametrize("name", [d.name for d in DOCUMENTS if any(b.kind in (*SHELL, "python") for b in blocks(d))])
def test_examples_run_in_order(name, beside_demo, cli, capsys):
    namespace, printed = run(DOCUMENTS[NAMES.index(name)], cli)
    if name == "directions.md":
        collected = {result["layer"] for result in namespace["workspace"].info()["results"]}
        made = {"sae", "sae-encoder", "probes", "concepts", "pca-8", "nmf-8", "sae-32-encoder", "kmeans-8", "random-8"}
        assert collected >= {f"{of}@layer3" for of in made}
        assert namespace["workspace"].references("probes@layer3")["image"].shape == (10, 20)
        assert "pca 0 (" in printed
    if name == "models.md":
        assert "net.layer4" in printed
        assert (beside_demo / "in-python" / "cluster.h5").exists()


def test_an_unknown_option_or_command_is_found():
    parse(["collect", "--model", "resnet50", "--data", "imagenet/val"])
    for wrong in (["collect", "--modle", "resnet50"], ["colect"], ["directions", "ica"]):
        with pytest.raises((KeyError, Exception), match=r"modle|colect|ica"):
            parse(wrong)


def test_config_files_have_known_keys(document, tmp_path):
    from pure_cli.config import read_config

    for block in blocks(document):
        if block.kind == "yaml":
            file = tmp_path / "study.yaml"
            file.write_text(block.text, encoding="utf-8")
            assert read_config(file)


def test_programs_beside_pure_are_there(document):
    targets = re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE)
    text = text_of(document)
    typed = [words for block in blocks(document) if block.kind in SHELL for words in block.commands]
    asked = [words[1] for words in typed if words[0] == "make"]
    assert set(asked + re.findall(r"`make (\w+)`", text)) <= set(targets)
    for file in re.findall(r"\b(?:tests|pure_cli|configs)/[\w/]+\.\w+", text):
        assert (ROOT / file).is_file(), file


def anchors(document: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and mkdocs make them."""
    text = FENCE.sub("", text_of(document))
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in HEADING.findall(text)}


def test_links_and_pictures_lead_somewhere(document):
    for link, picture in LINK.findall(FENCE.sub("", text_of(document))):
        path, _, anchor = (link or picture).partition("#")
        if path.startswith(("http://", "https://")):
            continue
        target = document.parent / path if path else document
        assert target.is_file(), link or picture
        assert not anchor or anchor in anchors(target), link


def test_the_index_and_the_site_have_every_page():
    pages = {document.name for document in DOCUMENTS[1:]}
    linked = {link for link, _ in LINK.findall(text_of(DOCS / "index.md"))}
    assert pages - linked == {"index.md"}
    navigation = yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"]
    assert Counter(page for part in navigation for rooms in part.values() for page in rooms) == Counter(
        pages | {"contributing.md"}  # which a code host wants at the top
    )


def test_the_readme_is_a_landing_page():
    assert len(text_of(ROOT / "README.md").split()) <= MOST_WORDS


def test_no_long_text_stands_in_two_places():
    places: dict[tuple[str, ...], set[str]] = {}
    for document in DOCUMENTS:
        lines = FENCE.sub("", text_of(document)).splitlines()
        words = [word for line in lines if not line.startswith("|") for word in line.split()]
        for i in range(len(words) - REPEATED + 1):
            places.setdefault(tuple(words[i : i + REPEATED]), set()).add(document.name)
    repeated = {" ".join(words): names for words, names in places.items() if len(names) > 1}
    assert not repeated
