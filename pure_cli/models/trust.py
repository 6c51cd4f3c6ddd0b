"""Whose model files are run. Such a file is a program: it is run where the user names it, and not because a workspace
that came from elsewhere does.

What the user named is remembered by path and function in ``$XDG_STATE_HOME/pure/model-files`` (else
``~/.local/state/pure``), one to a line. Light: no torch here.
"""

import os
from contextlib import suppress
from pathlib import Path

from pure_cli.errors import PureError
from pure_cli.models.spec import ModelSpec

ALLOWED = "PURE_TRUST"  # environment: files, and folders with all that is in them, that may be run
NAMED = "model-files"
ODD_NAMES = "surrogateescape"  # file names that are no UTF-8 keep their bytes

_named_here: set[str] = set()  # by this process, where nothing can be remembered


def trust(spec: ModelSpec) -> str | None:
    """Note that the user named a model file.

    Returns
    -------
    str or None
        A sentence where it cannot be noted, so that later commands will ask.
    """
    if spec.file is None or is_trusted(spec):
        return None
    _named_here.add(_entry(spec))
    try:
        place = _place()
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a", encoding="utf-8", errors=ODD_NAMES) as file:
            file.write(_entry(spec) + "\n")
    except (OSError, RuntimeError):
        return (
            f"It cannot be remembered that you named {spec.file}, since the home folder may not be written. "
            f"Set {ALLOWED}={spec.file} for the commands that follow."
        )
    return None


def is_trusted(spec: ModelSpec) -> bool:
    """Whether the user named this function of this file, or allowed the file."""
    if spec.file is None or _entry(spec) in _named_here:
        return True
    allowed = [Path(text).expanduser().resolve() for text in os.environ.get(ALLOWED, "").split(os.pathsep) if text]
    if any(place == spec.file or place in spec.file.parents for place in allowed):
        return True
    with suppress(OSError, RuntimeError):
        return _entry(spec) in _place().read_text(encoding="utf-8", errors=ODD_NAMES).split("\n")
    return False


def require_trusted(spec: ModelSpec) -> None:
    """Make sure that the user named a model file, before what a workspace says makes a program run.

    Raises
    ------
    PureError
        He did not.
    """
    if not is_trusted(spec):
        raise PureError(
            f"The workspace names the model file {spec.file}, which you never named yourself here, and such a file is "
            f"a program. Look at it; to run it, set {ALLOWED}={spec.file} or name it with `pure collect --model "
            f"{spec} --data DIR`."
        )


def _entry(spec: ModelSpec) -> str:
    return str(spec).replace("\n", "\\n")


def _place() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "pure" / NAMED
