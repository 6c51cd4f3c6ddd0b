"""The page that is in the package is the one that its sources make, and no name breaks out of it."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import pure_cli.views.atlas
from pure_cli.views.atlas.page import chunk, page

ROOM = Path(pure_cli.views.atlas.__file__).parent
SOURCE, BUNDLE = ROOM / "source", ROOM / "bundle"
HOSTILE = "</script><!-- <script>alert(1)</script> \u2028 & ' \" \\ é"


class Scripts(HTMLParser):
    """Attributes and text of each script of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        if tag == "script":
            self.found.append((dict(attrs), ""))

    def handle_data(self, data):
        if self.cdata_elem == "script":
            attributes, text = self.found.pop()
            self.found.append((attributes, text + data))


def scripts(html):
    parser = Scripts()
    parser.feed(html)
    return parser.found


def test_the_bundle_was_built_from_the_sources_beside_it():
    if not SOURCE.exists():
        pytest.skip("the sources of the page are not in the installed package")
    names = ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"]
    digest = hashlib.sha256()
    for name in sorted([*names, *(f"src/{file.name}" for file in (SOURCE / "src").iterdir())]):
        digest.update(f"{name}\0".encode() + (SOURCE / name).read_bytes() + b"\0")
    for name in ("atlas.js", "atlas.css"):
        first = (BUNDLE / name).read_text(encoding="utf-8").splitlines()[0]
        assert digest.hexdigest() in first, f"{name} is old: make atlas-page"


def test_the_lock_names_no_host_and_the_bundle_names_what_is_in_it():
    lock = json.loads((SOURCE / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    version = lock["packages"]["node_modules/preact"]["version"]
    assert f"preact {version}" in (BUNDLE / "licences.txt").read_text()


def test_names_stay_inside_the_json_of_the_page():
    site = {"model": HOSTILE, "classes": [HOSTILE]}
    found = scripts(page(site, {HOSTILE: {"label": HOSTILE}}))
    assert len(found) == 3
    assert json.loads(found[0][1]) == site
    assert found[1][0]["data-key"] == HOSTILE
    assert json.loads(found[1][1]) == {"label": HOSTILE}


def test_the_policy_allows_the_program_of_the_page_and_no_network():
    html = page({"model": "tiny"})
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html).group(1)
    assert "default-src &#39;none&#39;" in policy
    assert not re.search(r"https?:|unsafe|connect-src", policy)
    assert "http" not in re.sub(
        r"http://www\.w3\.org/[\w/]+|https://preactjs\.com", "", (BUNDLE / "atlas.js").read_text()
    )


def test_a_chunk_is_one_call_in_ascii_and_refuses_what_json_lacks():
    text = chunk("neuron:layer4#top/1", {"path": "\udcff\n", "label": HOSTILE})
    assert text.isascii()
    assert "<" not in text
    assert json.loads(f"[{text.removeprefix('pureAtlas(').removesuffix(')' + chr(10))}]") == [
        "neuron:layer4#top/1",
        {"path": "\udcff\n", "label": HOSTILE},
    ]
    with pytest.raises(ValueError, match="not JSON compliant"):
        chunk("layer:x", {"p": [float("nan")]})
