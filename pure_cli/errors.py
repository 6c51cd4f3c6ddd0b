"""The errors that a user can cause or mend; the command line turns them, in one place, into a line and an exit code."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

CLOSE = 0.6  # of a name to an unknown one, for it to be meant; 1 is the same
NEAREST = 3  # names suggested for an unknown one
LISTED = 12  # names listed where none is near


class PureError(Exception):
    """Wrong usage or input: one or two sentences that say what is wrong and what to do. Exit code 2."""

    exit_code = 2


class PureFailure(PureError):
    """The input was right and the work failed all the same (a full disk, no network, a dead worker). Exit code 1."""

    exit_code = 1


class UnreadableFile(PureError):
    """A file of the workspace is damaged, from something else, or from a newer pure."""


def first_line(error: BaseException) -> str:
    """What an exception says, in one line without a full stop; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, what it came from, what that came from, …, each once."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> PureError:
    """The error for a name that is not among the known ones: it shows the nearest, or some of them.

    Parameters
    ----------
    kind : what the name stands for, in the words of the user ("layer", "preset")
    name : the name that was given
    known : the names that there are
    hint : a sentence added at the end
    """
    known = list(known)
    near = get_close_matches(name, known, n=NEAREST, cutoff=CLOSE)
    if near:
        rest = f"Did you mean {' or '.join(repr(n) for n in near)}?"
    elif known:
        more = f", … ({len(known)} in all)" if len(known) > LISTED else ""
        rest = f"There is: {', '.join(known[:LISTED])}{more}."
    else:
        rest = "There is none."
    return PureError(f"Unknown {kind} '{name}'. {rest}{' ' + hint if hint else ''}")
