"""A real S3 server on this machine, with a proxy before it that counts and fails on demand (`proxy`)."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from s3_server import KEY, SECRET

from pure_cli.remote import faults, storage


class Proxy:
    """The proxy, from here; as of `s3_server.Server`."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def _control(self, content=None):
        body = None if content is None else json.dumps(content).encode()
        with urllib.request.urlopen(f"{self.url}/--control", body) as answer:
            return json.load(answer)

    def reset(self, *ills, always=""):
        self._control({"ills": ills, "always": always})

    @property
    def asked(self):
        return self._control()["asked"]

    @property
    def sent(self):
        return self._control()["sent"]

    def count(self, method="GET", ending=""):
        return sum(one == method and path.partition("?")[0].endswith(ending) for one, path, _ in self.asked)


@pytest.fixture(scope="session")
def servers():
    command = [sys.executable, str(Path(__file__).with_name("s3_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield json.loads(process.stdout.readline())
        process.stdin.close()


@pytest.fixture
def proxy(servers, monkeypatch, tmp_path):
    """The proxy with nothing wrong; S3 of this process and of its children is behind it, and the cache is empty."""
    found = Proxy(servers["proxy"])
    found.reset()
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": found.url, "AWS_EC2_METADATA_DISABLED": "true",
        "PURE_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(faults, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(faults, "LONGEST_WAIT", 0.02)
    faults.fault_notes()
    storage._systems.clear()
    return found


@pytest.fixture
def impatient(monkeypatch):
    """A storage counts as silent after a short while."""
    monkeypatch.setattr(storage, "SILENT", 0.4)


@pytest.fixture
def bucket(servers, proxy):
    """Puts files into a bucket of its own, by name; gives its URL."""
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{servers['moto']}")
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


@pytest.fixture
def inputs(model_file, tiny_weights):
    """Options of collect."""
    return ("--model", f"{model_file}:tiny", "--weights", tiny_weights, "-n", 5)
