"""What ``hf:`` names: a repo of the hub, a revision of it, what is meant in it."""

import re
from dataclasses import dataclass
from typing import Literal

from pure_cli.errors import PureError

MARK = "hf:"  # before the name of what is on the hub
AT = "@"  # between a repo and its revision
MAIN = "main"  # the revision that stands for none

_REPO = re.compile(r"[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repo:
    """A repo of the hub.

    Attributes
    ----------
    name : ``OWNER/NAME``; some old ones are a name alone
    kind : what is in it
    revision : a branch, a tag or a commit

    Raises
    ------
    PureError
        The name cannot be that of a repo.
    """

    name: str
    kind: Literal["model", "dataset"] = "model"
    revision: str = MAIN

    def __post_init__(self) -> None:
        if not _REPO.fullmatch(self.name) or not self.revision or self.revision.startswith(("/", "-")):
            raise PureError(
                f"'{self.text}' is no name of the hub. Write {MARK}OWNER/NAME or {MARK}OWNER/NAME@REVISION."
            )

    @property
    def text(self) -> str:
        """As the user writes it."""
        return f"{MARK}{self.name}" + (f"{AT}{self.revision}" if self.revision != MAIN else "")

    @property
    def is_commit(self) -> bool:
        """Whether the revision is one state of the repo for ever."""
        return bool(_COMMIT.fullmatch(self.revision))

    @property
    def page(self) -> str:
        """The path of its page on the hub."""
        return f"datasets/{self.name}" if self.kind == "dataset" else self.name

    @property
    def download(self) -> str:
        """The command that fetches it."""
        kind = " --repo-type dataset" if self.kind == "dataset" else ""
        return f"hf download {self.name}{kind}" + (f" --revision {self.revision}" if self.revision != MAIN else "")


def parse_repo(text: str, kind: Literal["model", "dataset"] = "model") -> Repo:
    """The repo of ``OWNER/NAME`` or ``OWNER/NAME@REVISION``, what stands before it taken off."""
    name, _, revision = text.removeprefix(MARK).partition(AT)
    return Repo(name, kind, revision or MAIN)


def parse_file(text: str) -> tuple[Repo, str]:
    """The repo and the file in it of ``hf:OWNER/NAME[@REVISION]/FOLDER/FILE``.

    Raises
    ------
    PureError
        No file is named.
    """
    owner, _, rest = text.removeprefix(MARK).partition("/")
    name, _, file = rest.partition("/")
    if not file:
        raise PureError(
            f"'{text}' names no file of a repo. Write {MARK}OWNER/NAME/FILE, or {MARK}OWNER/NAME@REVISION/FILE."
        )
    return parse_repo(f"{owner}/{name}"), file
