"""What is a URL, and how it is remembered and shown: without what must stay secret.

A URL may hold a password (``https://user:password@…``) or a signature (``?X-Amz-Signature=…``). What is remembered and
shown goes without; the whole one stays in the memory of the process, and can be given again by the environment.
"""

import os
import re
from urllib.parse import parse_qsl, urlsplit, urlunsplit

ENVIRONMENT = "PURE_DATA"  # may hold the whole of a URL that was remembered without its secrets

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.*|hf:.*", re.DOTALL)
_WEB = ("http", "https")
_SECRET = re.compile(
    r"x-(amz|goog)-|sig|token|key|secret|pass|auth|cred|policy|expires|session|jwt|code", re.IGNORECASE
)  # names of what a query may hold that is not to be told
_LONGEST = 24  # characters of a value in a query that can be no secret
_IN_TEXT = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]+://[^\s'"<>)\]]+""")
_SLASHES = 2  # of a URL without a path
_whole: dict[str, str] = {}
_of_folder: dict[str, str] = {}  # a URL with its secrets, by the folder that it is in


def is_url(text: str) -> bool:
    """Whether a place is not on this machine's disks: ``SCHEME://…``, or ``hf:NAME`` on the hub of Hugging Face."""
    return _URL.fullmatch(text) is not None


def is_web(url: str) -> bool:
    """Whether it is a page of the web, where ``?`` begins a query."""
    return scheme_of(url) in _WEB


def scheme_of(url: str) -> str:
    return url.partition("://")[0].lower()


def without_secrets(url: str) -> str:
    """A URL as it is remembered and shown; the whole one is kept in memory, for `whole`."""
    shown = _shown(url)
    if shown != url:
        _whole[shown] = url
        _of_folder[_folder(shown)] = url
    return shown


def whole(url: str) -> str:
    """The URL with its secrets, as they were given to this process or to its environment.

    What lies beside or below a URL whose secrets are known has the same ones.
    """
    given = os.environ.get(ENVIRONMENT, "")
    if is_url(given):
        without_secrets(given)
    if url in _whole:
        return _whole[url]
    folder = _folder(url)
    while folder.count("/") >= _SLASHES:
        if folder in _of_folder:
            return _with_secrets_of(_of_folder[folder], url)
        folder = folder.rpartition("/")[0]
    return url


def _folder(url: str) -> str:
    return path_of(url).rpartition("/")[0]


def _with_secrets_of(other: str, url: str) -> str:
    own, known = urlsplit(url), urlsplit(other)
    return urlunsplit((own.scheme, known.netloc, own.path, own.query or known.query, ""))


def scrubbed(text: str) -> str:
    """A text of some library with its URLs shown without secrets."""
    return _IN_TEXT.sub(lambda found: _shown(found[0]), text)


def name_of(url: str) -> str:
    """The last part of a path, without the query of a page."""
    return path_of(url).rstrip("/").rpartition("/")[2]


def path_of(url: str) -> str:
    """A URL without the query of a page."""
    return url.partition("?")[0] if is_web(url) else url


def joined(url: str, name: str) -> str:
    """The URL of what lies below a folder."""
    path, mark, query = url.partition("?") if is_web(url) else (url, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{query}"


def _shown(url: str) -> str:
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL after all
        return url
    host = parts.netloc.rpartition("@")[2]
    if scheme_of(url) not in _WEB:
        return url if host == parts.netloc else url.replace(f"//{parts.netloc}", f"//{host}", 1)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [f"{name}={value}" for name, value in pairs if not _SECRET.search(name) and len(value) <= _LONGEST]
    if host == parts.netloc and len(kept) == len(pairs):
        return url
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), parts.fragment))
