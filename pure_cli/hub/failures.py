"""What goes wrong at the hub, in a sentence each: what it is, and what to do. No token gets into any of them."""

from pure_cli.errors import PureError, PureFailure, causes, first_line
from pure_cli.files import DISK_FULL
from pure_cli.hub.names import AT, Repo

EXTRA = "pip install 'pure-cli[hf]'"
LOG_IN = "log in (`hf auth login`) or set HF_TOKEN"
UNAUTHORISED, FORBIDDEN, TOO_MANY = 401, 403, 429


def no_package(what: str, package: str) -> PureError:
    """The error where a package of the extra is not installed."""
    return PureError(f"{what} needs {package}: {EXTRA}.")


def not_here(repo: Repo, what: str, why: str) -> PureFailure:
    """The error for what is not in the cache and cannot be fetched.

    Parameters
    ----------
    what : is missing, with its verb ("is", "are")
    why : it cannot be fetched
    """
    return PureFailure(f"{what} not on this machine, and {why}. Where there is a network, run `{repo.download}`.")


def failure_of(repo: Repo, error: Exception, what: str) -> PureError:
    """The sentence for an error of the hub's client.

    Parameters
    ----------
    what : was looked for, with its verb
    """
    from huggingface_hub import constants, errors

    chain = list(causes(error))
    status = next((code for one in chain if (code := _status(one)) is not None), None)
    if any(isinstance(one, errors.GatedRepoError) for one in chain):
        page = f"{constants.ENDPOINT}/{repo.page}"
        return PureFailure(f"{repo.text} is gated. Ask for access at {page}, then {LOG_IN}.")
    if any(isinstance(one, errors.RevisionNotFoundError) for one in chain):
        return PureError(f"{repo.name} has no revision '{repo.revision}'. Leave out '{AT}{repo.revision}' or mend it.")
    if status == UNAUTHORISED:
        return PureFailure(
            f"The hub has no {repo.kind} repo {repo.name} that you may see (401). Check its name; if it is private, "
            f"{LOG_IN}."
        )
    if status == FORBIDDEN:
        return PureFailure(
            f"The hub does not let you read {repo.text} (403). Use a token with the right to read it: {LOG_IN}."
        )
    if any(isinstance(one, errors.RepositoryNotFoundError) for one in chain):
        return PureError(
            f"The hub has no {repo.kind} repo {repo.name} (404). Check its name; if it is private, {LOG_IN}."
        )
    if status == TOO_MANY:
        return PureFailure(f"The hub answers {repo.text} with 'too many requests' (429). Wait, or {LOG_IN}.")
    if status is not None:
        return PureFailure(f"The hub answers {repo.text} with error {status}. Try again later.")
    if isinstance(error, PermissionError) or getattr(error, "errno", None) in DISK_FULL:
        return PureFailure(
            f"{repo.text} cannot be kept in the hub's cache ({first_line(error)}). HF_HOME says where that is."
        )
    return not_here(repo, what, "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached")


def _status(error: BaseException) -> int | None:
    """The status of an answer of the hub."""
    code = getattr(getattr(error, "response", None), "status_code", None)
    return int(code) if code is not None else None
