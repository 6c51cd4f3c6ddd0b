"""What pure asks of a storage: what is there, bytes of it, and to take a file. Through fsspec, which has the protocols.

Of S3 and of web servers, the answer is held against what was asked for: the range, the length, the ETag. What fsspec
gives has lost these, so that its file systems are asked one floor deeper.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pure_cli.errors import PureError, PureFailure
from pure_cli.remote.faults import WrongAnswer, ask
from pure_cli.remote.urls import is_web, scheme_of, whole, without_secrets

AT_ONCE = 16  # questions
S3 = ("s3", "s3a")  # schemes
CONNECT, SILENT = 10.0, 30.0  # seconds to a connection, and without a byte on one, that count as a fault
DEEPEST = 3  # folders in each other on a web server, whose pages are read for links
UNKNOWN = -1  # size, or time, of which nothing is said
NO_SIGN_REQUEST = "AWS_NO_SIGN_REQUEST"  # as other tools have it
_MARKS = ("md5Hash", "ETag", "etag", "blob_id", "crc32c")  # keys of what changes with the content
_TIMES = ("LastModified", "updated", "mtime", "last_modified", "Last-Modified", "created")
_PIECE = 1 << 20  # bytes at a time, of what comes in one piece

_systems: dict[tuple[int, str], Any] = {}

Item = TypeVar("Item")
Value = TypeVar("Value")


class NoRanges(PureError):
    """A server that gives files as a whole only."""


@dataclass(frozen=True)
class Entry:
    """What a storage says of a file.

    Attributes
    ----------
    size : in bytes, `UNKNOWN` where nothing is said
    mark : its ETag, or what else changes with its content; "" where there is none
    time : of the last change, in nanoseconds, `UNKNOWN` where nothing is said
    """

    size: int = UNKNOWN
    mark: str = ""
    time: int = UNKNOWN


def entry_of(url: str) -> Entry:
    """What there is of one file.

    Raises
    ------
    Missing
        There is no such file.
    PureError, PureFailure
        As of `pure_cli.remote.faults.ask`.
    """
    if is_web(url):
        return ask(url, lambda: _of_loop(url, _web_entry))

    def look() -> Entry:
        system = _system(url)
        system.invalidate_cache()
        found = system.info(whole(url))
        if found.get("type") == "directory":
            raise FileNotFoundError(url)
        return _entry(found)

    return ask(url, look)


def entries_below(url: str) -> dict[str, Entry]:
    """All files below a folder, at any depth, by their names from there on; hidden ones are left out.

    Raises
    ------
    Missing
        There is no such bucket or page.
    PureError, PureFailure
        As of `pure_cli.remote.faults.ask`.
    """
    if is_web(url):
        names = _linked(url if url.endswith("/") else f"{url}/")
        found = dict(zip(names, at_once(lambda name: entry_of(f"{url.rstrip('/')}/{name}"), names), strict=True))
        return dict(sorted(found.items()))

    def look() -> dict[str, Entry]:
        system = _system(url)
        system.invalidate_cache()
        base = system._strip_protocol(whole(url)).rstrip("/")
        found = system.find(base, detail=True)
        below = ((name[len(base) :].lstrip("/"), info) for name, info in found.items() if info["type"] == "file")
        return {name: _entry(info) for name, info in sorted(below, key=lambda one: one[0]) if _is_plain(name)}

    return ask(url, look)


def read(url: str, start: int, stop: int, mark: str = "") -> bytes:
    """Bytes ``start:stop`` of a file.

    Parameters
    ----------
    mark : of the file as it was listed; another one is an error

    Raises
    ------
    NoRanges
        The server gives the whole only.
    PureError, PureFailure
        As of `pure_cli.remote.faults.ask`; or the file is another one now.
    """
    if stop <= start:
        return b""

    def answer() -> bytes:
        found, where, now = _part(url, start, stop)
        if mark and now and now != mark:
            raise changed(url)
        if where and not where.replace("bytes ", "").startswith(f"{start}-{stop - 1}/"):
            raise WrongAnswer(f"it gave the bytes {where} for {start}-{stop - 1}")
        if len(found) != stop - start:
            raise WrongAnswer(f"it gave {len(found):,} bytes for {stop - start:,}")
        return found

    return ask(url, answer)


def read_whole(url: str, sink: BinaryIO) -> None:
    """Write a file into another one, in one piece.

    Raises
    ------
    PureError, PureFailure
        As of `pure_cli.remote.faults.ask`.
    """

    def answer() -> None:
        sink.seek(0)
        sink.truncate()
        if is_web(url):
            _of_loop(url, lambda system, address: _web_stream(system, address, sink))
        else:
            sink.write(_system(url).cat_file(whole(url)))

    ask(url, answer)


def put(url: str, file: Path) -> None:
    """Give a file to the storage, which has the old one until it has all of it.

    Raises
    ------
    PureError, PureFailure
        As of `pure_cli.remote.faults.ask`.
    """
    ask(url, lambda: _system(url).put_file(str(file), whole(url)))


def remove(url: str) -> None:
    """Take a file away."""
    ask(url, lambda: _system(url).rm_file(whole(url)))


def at_once(question: Callable[[Item], Value], items: Sequence[Item], most: int = AT_ONCE) -> Iterator[Value]:
    """The answers to several questions, in their order, so many at a time."""
    with ThreadPoolExecutor(most) as askers:
        yield from askers.map(question, items)


def changed(url: str, how: str = "while it was read. Run the command again.") -> PureFailure:
    """The error for a file that is not the one that was listed."""
    return PureFailure(f"{without_secrets(url)} changed {how}")


def _system(url: str) -> Any:
    """The file system of a protocol, for this process.

    Those of the process that this one is a fork of are kept, too: to close their connections would disturb it.
    """
    key = os.getpid(), scheme_of(url)
    if key not in _systems:
        _systems[key] = _new_system(url)
    return _systems[key]


def _new_system(url: str) -> Any:
    import fsspec

    scheme = scheme_of(url)
    options: dict[str, Any] = {}
    if scheme in S3:
        once = {"total_max_attempts": 1, "mode": "standard"}  # `ask` asks again, and counts
        options["config_kwargs"] = {"connect_timeout": CONNECT, "read_timeout": SILENT, "retries": once}
        options["anon"] = os.environ.get(NO_SIGN_REQUEST, "").lower() in ("yes", "true", "1")
    elif is_web(url):
        import aiohttp

        waits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENT)
        options["client_kwargs"] = {"timeout": waits, "trust_env": True}
    system = fsspec.filesystem(scheme, skip_instance_cache=True, **options)
    system.retries = 1
    return system


def _part(url: str, start: int, stop: int) -> tuple[bytes, str, str]:
    """Bytes, which they are as the storage says it, and the mark of the file; "" where nothing is said."""
    if is_web(url):
        return _of_loop(url, lambda system, address: _web_part(system, address, start, stop))
    if scheme_of(url) in S3:
        return _of_loop(url, lambda system, address: _s3_part(system, address, start, stop))
    return _system(url).cat_file(whole(url), start=start, end=stop), "", ""


def _of_loop(url: str, question: Callable[[Any, str], Any]) -> Any:
    """What a coroutine of a file system gives, in fsspec's thread for these."""
    from fsspec.asyn import sync

    system = _system(url)
    return sync(system.loop, question, system, whole(url))


async def _s3_part(system: Any, url: str, start: int, stop: int) -> tuple[bytes, str, str]:
    bucket, key, _ = system.split_path(url)
    answer = await system._call_s3("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
    async with answer["Body"] as body:
        return await body.read(), answer.get("ContentRange", ""), _plain_mark(answer.get("ETag", ""))


def _address(url: str) -> Any:
    import yarl

    return yarl.URL(url, encoded="%" in url)  # what is quoted already may be signed


async def _web_part(system: Any, url: str, start: int, stop: int) -> tuple[bytes, str, str]:
    session = await system.set_session()
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    async with session.get(_address(url), headers=headers) as answer:
        answer.raise_for_status()
        if answer.status != 206:
            raise NoRanges(f"The server of {without_secrets(url)} gives files as a whole only.")
        where = answer.headers.get("Content-Range", "")
        return await answer.read(), where, _plain_mark(answer.headers.get("ETag", ""))


async def _web_entry(system: Any, url: str) -> Entry:
    """Asked for by GET, since a signature may be good for that alone; no more than a byte is read."""
    session = await system.set_session()
    headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
    async with session.get(_address(url), headers=headers) as answer:
        whole_size = answer.headers.get("Content-Range", "").rpartition("/")[2]
        empty = answer.status == 416 and whole_size == "0"
        if not empty:
            answer.raise_for_status()
        size = answer.headers.get("Content-Length", "") if answer.status == 200 else whole_size
        said = {name: answer.headers.get(name) for name in ("ETag", "Last-Modified")}
        return _entry({**said, "size": int(size) if size.isdecimal() else UNKNOWN})


async def _web_stream(system: Any, url: str, sink: BinaryIO) -> None:
    session = await system.set_session()
    async with session.get(_address(url), headers={"Accept-Encoding": "identity"}) as answer:
        answer.raise_for_status()
        async for piece in answer.content.iter_chunked(_PIECE):
            sink.write(piece)


def _linked(url: str) -> list[str]:
    """The names of the files that the pages of a folder link to."""
    found: list[str] = []
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        page = f"{url}{folder}"
        links = ask(page, lambda page=page: _system(url).ls(whole(page), detail=False))  # type: ignore[misc]
        for link in links:
            name = folder + link.removeprefix(page)
            if link == page or not link.startswith(page) or "?" in name or not _is_plain(name):
                continue
            if name.endswith("/"):
                waiting += [(name, depth + 1)] if depth < DEEPEST else []
            else:
                found.append(name)
    return sorted(set(found))


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file that is not hidden."""
    return bool(name) and not any(part.startswith(".") for part in name.split("/"))


def _plain_mark(text: Any) -> str:
    return str(text or "").strip('"')


def _entry(info: Any) -> Entry:
    size = info.get("size")
    lfs = info.get("lfs")
    mark = lfs["sha256"] if lfs else next((info[name] for name in _MARKS if info.get(name)), "")
    time = next((info[name] for name in _TIMES if info.get(name)), None)
    return Entry(UNKNOWN if size is None else int(size), _plain_mark(mark), _nanoseconds(time))


def _nanoseconds(time: Any) -> int:
    """A time in whatever form a library has it."""
    try:
        if isinstance(time, str):
            time = (
                datetime.fromisoformat(time.replace("Z", "+00:00"))
                if time[:4].isdecimal()
                else parsedate_to_datetime(time)
            )
        if isinstance(time, datetime):
            time = time.timestamp()
        return int(float(time) * 1e9)
    except (TypeError, ValueError):
        return UNKNOWN
