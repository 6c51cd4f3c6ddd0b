"""The shell of an atlas, and the text of the files that it loads: JSON that no name can break out of."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

HERE = Path(__file__).parent
BUNDLE = HERE / "bundle"  # made from source/ by `make atlas-page`
CALL = "pureAtlas("  # that hands over the content of a file
# What HTML could take for the end of a script or the beginning of a comment; JSON may write these as it likes.
ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def page(site: Mapping[str, Any], chunks: Mapping[str, Any] = {}) -> str:
    """The whole index.html of an atlas; program and style are inside, and nothing comes from the network.

    Parameters
    ----------
    site : model, layers, classes, …, of JSON's kinds
    chunks : contents by key that the page shall not look for in files, for notebooks

    Raises
    ------
    ValueError
        For a number that JSON does not know (nan, inf).
    """
    program, style = _bundled("atlas.js"), _bundled("atlas.css")
    return _template().render(
        title=f"{site['model']} · pure atlas",
        policy=_policy(program, style),
        style=Markup(style),
        program=Markup(program),
        site=Markup(_json(site)),
        chunks=[(key, Markup(_json(content))) for key, content in chunks.items()],
    )


def chunk(key: str, content: Any) -> str:
    """The text of a file that the page loads as a script: a call that hands over the content.

    Raises
    ------
    ValueError
        For a number that JSON does not know (nan, inf).
    """
    return f"{CALL}{_json(key)},{_json(content)})\n"


def content_of(text: str) -> Any:
    """What the text of such a file hands over.

    Raises
    ------
    ValueError
        It is none.
    """
    _, content = json.loads(f"[{text.strip().removeprefix(CALL).removesuffix(')')}]")
    return content


def _json(content: Any) -> str:
    """In ASCII, so that a path that is no UTF-8 can be written too."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).translate(ESCAPES)


@lru_cache
def _bundled(name: str) -> str:
    return (BUNDLE / name).read_text(encoding="utf-8")


@lru_cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("page.html.jinja")


def _policy(program: str, style: str) -> str:
    """The page's own program and style by their checksums, files beside it, and no connection to anywhere."""
    return (
        f"default-src 'none'; script-src '{_checksum(program)}' 'self' file:; style-src '{_checksum(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _checksum(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
