"""Small JSON files with something for each layer, each with a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pure_cli.config import fingerprint
from pure_cli.errors import UnreadableFile
from pure_cli.files import write_whole

T = TypeVar("T")
WRONG = (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError)


def read_by_layer(path: Path, cls: type[T], remake: str) -> dict[str, T]:
    """Dataclasses by layer; none where there is no file.

    Parameters
    ----------
    cls : raises TypeError for what has not its types
    remake : what makes the file again, for the message

    Raises
    ------
    UnreadableFile
        It is no such file.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for layer, own in content.items():
            if own.pop("fingerprint") != fingerprint([layer, own]):
                raise ValueError("changed since it was written")
        return {layer: cls(**own) for layer, own in content.items()}
    except WRONG:
        raise UnreadableFile(f"{path} cannot be read. Make it again with {remake}.") from None


def write_by_layer(path: Path, content: Mapping[str, Any]) -> None:
    """Dataclasses by layer."""
    found = {layer: asdict(one) for layer, one in content.items()}
    found = {layer: {**own, "fingerprint": fingerprint([layer, own])} for layer, own in found.items()}
    write_whole(path, json.dumps(found, indent=1, sort_keys=True))
