"""A storage that fails is asked again, later and later; what cannot be mended by asking is said in a sentence."""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

from pure_cli.errors import PureError, PureFailure, causes, first_line
from pure_cli.remote.urls import ENVIRONMENT, is_web, scheme_of, scrubbed, without_secrets
from pure_cli.words import counted

TRIES = 8
FIRST_WAIT, LONGEST_WAIT = 0.2, 20.0  # seconds, at most, before the second try and before any other
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "https", "https": "https"}
LATER = (408, 425, 429)  # answers that mean: ask again
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "ProfileNotFound",
    "NoAuthTokenError",
    "DefaultCredentialsError",
    "RefreshError",
    "GatedRepoError",
)  # exceptions of several libraries, by name: none of them need be there
_NOBODY = ("ConnectionRefusedError", "ClientConnectorError", "EndpointConnectionError")  # the same
_NO_BUCKET = "bucket does not exist"
_ADVICE = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE (AWS_ENDPOINT_URL for a server of your own; "
    "AWS_NO_SIGN_REQUEST=yes for a public bucket).",
    "gcs": "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS.",
    "https": f"Pass the whole URL with its signature, with --data or as {ENVIRONMENT}.",
    "hf": "Run `hf auth login`, or set HF_TOKEN.",
}

Value = TypeVar("Value")


class WrongAnswer(Exception):
    """The storage gave something else than what it was asked for."""


class Missing(PureError):
    """There is nothing at a URL."""


class _Count:
    """Faults of this process and of those that it forks: a file without a name, a byte for each."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._told = 0

    def open(self) -> None:
        """Before the first process is forked."""
        self._file = self._file or tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (it ends with the process)

    def add(self) -> None:
        self.open()
        assert self._file
        os.lseek(self._file.fileno(), 0, os.SEEK_END)
        self._file.write(b".")

    def take(self) -> int:
        """How many there were since the last call."""
        count = os.fstat(self._file.fileno()).st_size if self._file else 0
        new, self._told = count - self._told, count
        return new


_count = _Count()


def watch() -> None:
    """Count the faults of processes that are forked from here on, too."""
    _count.open()


def fault_notes() -> list[str]:
    """A sentence on how often the storage failed since it was told last."""
    count = _count.take()
    return [f"The storage failed {counted(count, 'time')} and was asked again."] if count else []


def ask(url: str, question: Callable[[], Value]) -> Value:
    """What a question to the storage gives, asked again where that fails for a while.

    Raises
    ------
    Missing
        There is nothing.
    PureError
        It is of no use to ask again: no permission, no such protocol.
    PureFailure
        It failed `TRIES` times.
    """
    reason = ""
    for waited in _waits():
        if waited:
            time.sleep(waited)
        try:
            return question()
        except PureError:
            raise
        except Exception as error:  # each library raises its own
            final = _final(without_secrets(url), error)
            if final is not None:
                raise final from None  # a traceback would show the whole URL
            _count.add()
            names = {type(one).__name__ for one in causes(error)}
            reason = "nobody answers there" if names & set(_NOBODY) else scrubbed(first_line(error))
    raise PureFailure(
        f"The storage did not give {without_secrets(url)}, though it was asked {TRIES} times ({reason}). "
        "What was finished is kept: run the command again."
    )


def _waits() -> Iterator[float]:
    yield 0
    for i in range(TRIES - 1):
        yield random.uniform(0.5, 1) * min(LONGEST_WAIT, FIRST_WAIT * 2**i)


def _final(url: str, error: Exception) -> PureError | None:
    """What to say where it is of no use to ask again."""
    chain = list(causes(error))
    status = next((found for one in chain if (found := _status(one))), 0)
    names = {base.__name__ for one in chain for base in type(one).__mro__}
    kind = "https" if is_web(url) else EXTRAS.get(scheme_of(url), scheme_of(url))
    why = scrubbed(first_line(error))
    if isinstance(error, ImportError):
        extra = EXTRAS.get(scheme_of(url))
        how = f"pip install 'pure-cli[{extra}]'" if extra else f"pip install what fsspec needs for it ({why})"
        return PureError(f"{scheme_of(url)}:// needs another package: {how}.")
    if names & set(_NO_CREDENTIALS):
        return PureError(f"There are no credentials for {url} ({why}). {_ADVICE.get(kind, '')}".rstrip())
    if status in (401, 403, 407) or (isinstance(error, PermissionError) and not status):
        return PureError(f"The storage does not let you read or write {url} ({why}). {_ADVICE.get(kind, '')}".rstrip())
    if isinstance(error, FileNotFoundError | IsADirectoryError) or status in (404, 410):
        if _NO_BUCKET in why.lower():
            return Missing(f"There is no bucket for {url}. Mend the URL, or AWS_ENDPOINT_URL.")
        return Missing(f"There is nothing at {url}. Mend the URL.")
    if status in (301, 307, 308):
        return PureError(f"The bucket of {url} is in another region ({why}). Set AWS_DEFAULT_REGION.")
    if 400 <= status < 500 and status not in LATER:
        return PureError(f"The storage refuses {url} ({status}: {why}). Mend the URL.")
    if isinstance(error, ValueError) and not isinstance(error, OSError) and not status:
        return PureError(f"{url} is not read ({why}). Mend the URL.")
    return PureError(f"{url} is not read ({why}). Mend the URL.") if "ParamValidationError" in names else None


def _status(error: BaseException) -> int:
    """The number of an answer that is an error, as the libraries keep it; 0 where it was none."""
    response = getattr(error, "response", None)
    found = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    found = found or getattr(response, "status_code", None) or getattr(error, "status", None)
    code = getattr(error, "code", None) if type(error).__name__ == "HttpError" else None  # of gcsfs
    text = str(found or code)
    return int(text) if text.isdecimal() and 100 <= int(text) < 600 else 0
