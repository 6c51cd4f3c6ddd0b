"""An extension of griffe: reads ``name : what it is``, as docstrings here have it, as a name and a description.

The types are those of the signature. Without it, the description would be taken for the type.
"""

import re
import textwrap
from typing import Any

import griffe

SECTION = re.compile(r"^(Parameters|Attributes|Returns)\n-+\n((?:.*\S.*(?:\n|$))+)", re.MULTILINE)
ITEM = re.compile(r"^(\w+(?:, \w+)*) : ", re.MULTILINE)


class NamesAndDescriptions(griffe.Extension):
    """For every object that has a docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            returns = str(getattr(obj, "returns", None) or "")
            obj.docstring.value = SECTION.sub(lambda match: section(*match.groups(), returns), obj.docstring.value)


def section(kind: str, text: str, returns: str) -> str:
    """A section in the form that griffe reads: names or a type at the margin, descriptions indented below."""
    if kind == "Returns":
        described = any(line.startswith(" ") for line in text.splitlines())
        body = text if described or not returns else f"{returns}\n{textwrap.indent(text, '    ')}"
    else:
        items = ITEM.split(text)[1:]
        pairs = zip(items[::2], items[1::2], strict=True)
        body = "".join(
            f"{name}\n{textwrap.indent(textwrap.dedent('    ' + described.rstrip()), '    ')}\n"
            for names, described in pairs
            for name in names.split(", ")
        )
    return f"{kind}\n{'-' * len(kind)}\n{body}"
