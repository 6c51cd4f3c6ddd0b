"""A real S3 server on this machine, and a proxy before it that counts what is asked for and fails on demand."""

import http.client
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pure_cli.remote import faults, storage

SECRET = "wJalrXUtnFEMI-never-to-be-seen"
KEY = "AKIANEVERTOBESEEN"


class Proxy(ThreadingHTTPServer):
    """Passes requests on.

    Attributes
    ----------
    asked : (method, path, range) of each request
    sent : bytes of all answers
    ills : of the next answers to GET: 500, 503, "cut", "slow", "other range", "whole"; or "" for none
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, behind):
        super().__init__(("127.0.0.1", 0), _Pass)
        self.behind, self.turn = behind, threading.Lock()
        self.reset()

    def reset(self, *ills, always=""):
        self.asked, self.sent, self.ills, self.always = [], 0, deque(ills), always

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, method="GET", ending=""):
        return sum(one == method and path.partition("?")[0].endswith(ending) for one, path, _ in self.asked)


class _Pass(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def next_ill(self):
        with self.server.turn:
            ills = self.server.ills
            of_ranges = ills and ills[0] in ("other range", "whole")
            if not ills or self.command != "GET" or (of_ranges and "Range" not in self.headers):
                return ""
            return ills.popleft()

    def answer(self):
        proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy.asked.append((self.command, self.path, self.headers.get("Range", "")))
        ill = proxy.always or self.next_ill()
        headers = dict(self.headers)
        if ill == "other range" and "Range" in headers:
            headers["Range"] = "bytes=1-9"
        if ill == "whole":
            headers.pop("Range", None)
        if isinstance(ill, int):
            content = f"<Error><Code>{'SlowDown' if ill == 503 else 'InternalError'}</Code></Error>".encode()
            return self.give(ill, {"Content-Type": "application/xml"}, content)
        if ill == "slow":
            time.sleep(1.5)
        behind = http.client.HTTPConnection(*proxy.behind)
        behind.request(self.command, self.path, body, headers)
        found = behind.getresponse()
        content = found.read()
        self.give(found.status, dict(found.getheaders()), content, cut=ill == "cut")
        behind.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def give(self, status, headers, content, cut=False):
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        content = content[: len(content) // 2] if cut else content
        self.server.sent += len(content)
        if self.command != "HEAD":
            self.wfile.write(content)
        self.close_connection = cut or self.close_connection


@pytest.fixture(scope="session")
def moto():
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture(scope="session")
def proxy_of_session(moto):
    proxy = Proxy(moto)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield proxy
    proxy.shutdown()


@pytest.fixture
def proxy(proxy_of_session, monkeypatch, tmp_path):
    """The proxy with nothing wrong; S3 of this process and of its children is behind it, and the cache is empty."""
    proxy_of_session.reset()
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": proxy_of_session.url, "AWS_EC2_METADATA_DISABLED": "true",
        "PURE_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(faults, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(faults, "LONGEST_WAIT", 0.02)
    faults.fault_notes()
    import fsspec

    fsspec.filesystem("s3").clear_instance_cache()
    return proxy_of_session


@pytest.fixture
def impatient(monkeypatch):
    """A storage counts as silent after a short while."""
    monkeypatch.setattr(storage, "SILENT", 0.4)


@pytest.fixture
def bucket(moto, proxy):
    """Puts files into a bucket of its own, by name; gives its URL."""
    client = boto3.client("s3", endpoint_url=f"http://{moto[0]}:{moto[1]}")
    name = f"bucket-{time.time_ns()}"
    client.create_bucket(Bucket=name)

    def put(files):
        for key, content in files.items():
            client.put_object(Bucket=name, Key=key, Body=content, ACL="public-read")
        return f"s3://{name}"

    put.client, put.name = client, name
    return put


@pytest.fixture
def plain_server(tmp_path):
    """A web server that has folders as pages, dates, and neither ranges nor ETags; its folder and its URL."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args, **options):
            super().__init__(*args, directory=str(folder), **options)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
