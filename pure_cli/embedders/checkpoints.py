"""What is wrong with a checkpoint or a download, in the words of the user."""

import re
from pathlib import Path
from pickle import UnpicklingError

from pure_cli.errors import PureError, PureFailure, first_line
from pure_cli.models.spec import weights_place

SHOWN = 3  # keys listed of each kind that does not fit
MISFITS = {  # torch's words for weights that do not fit, and ours
    r"Missing key\(s\) in state_dict: (.*)": "missing",
    r"Unexpected key\(s\) in state_dict: (.*)": "not in the model",
    r"size mismatch for ([^:]+):": "of another shape",
}


def existing(weights: Path | str) -> Path:
    """The file, if it is there.

    Raises
    ------
    PureError
        It is not.
    """
    path = Path(weights).expanduser().resolve()
    if not weights_place(path)[0].is_file():
        raise PureError(f"The weights file {weights} does not exist. Give a checkpoint with --embedder-weights FILE.")
    return path


def does_not_fit(path: Path, error: Exception) -> PureError:
    """The error for weights that a library's own loader refused.

    Parameters
    ----------
    path : the checkpoint
    error : what the loader raised
    """
    if isinstance(error, UnpicklingError):
        return PureError(
            f"{path} holds more than weights (it would run code when loaded) or is no checkpoint. "
            "Save the model's state_dict() and pass that file."
        )
    problems = []
    for pattern, what in MISFITS.items():
        found = re.findall(pattern, str(error))
        keys = re.findall(r'"([^"]+)"', found[0]) if found and '"' in found[0] else found
        if keys:
            problems.append(f"{len(keys)} {what}: {', '.join(keys[:SHOWN])}{', …' if len(keys) > SHOWN else ''}")
    if problems:
        return PureError(f"The weights in {path} do not fit the model. {'; '.join(problems)}.")
    return PureError(f"{path} cannot be read as its weights ({type(error).__name__}: {first_line(error)}).")


def no_download(name: object, url: str, error: Exception) -> PureFailure:
    """The error for weights that are needed and cannot be had.

    Parameters
    ----------
    name : of the embedder
    url : of the file to get
    error : what the download raised
    """
    return PureFailure(
        f"The weights of {name} are not on this machine and cannot be downloaded ({type(error).__name__}). "
        f"On a machine with a network, get {url}, and pass the file with --embedder-weights FILE."
    )
