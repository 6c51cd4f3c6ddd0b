"""A real S3 server, and a proxy before it that counts what is asked for and fails on demand; run as a program.

A process of its own: workers are forks of the tests' process, and would keep its connections open.
"""

import http.client
import json
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py

SECRET = "wJalrXUtnFEMI-never-to-be-seen"
KEY = "AKIANEVERTOBESEEN"
CONTROL = "/--control"
SECONDS = {"slow": 1.5, "far": 0.03}
OF_RANGES = ("other range", "whole")


class Server(ThreadingHTTPServer):
    """Passes requests on.

    Attributes
    ----------
    asked : (method, path, range) of each request
    sent : bytes of all answers
    ills : of the next answers to GET: 500, 503, "cut", "slow", "far", "other range", "whole"; or "" for none
    always : of all answers
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, behind):
        super().__init__(("127.0.0.1", 0), Pass)
        self.behind, self.turn = behind, threading.Lock()
        self.reset([], "")

    def reset(self, ills, always):
        self.asked, self.sent, self.ills, self.always = [], 0, deque(ills), always

    def handle_error(self, *_):
        """Who asked has gone away."""


class Pass(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def next_ill(self):
        with self.server.turn:
            ills = self.server.ills
            if self.server.always or not ills or self.command != "GET":
                return self.server.always
            return "" if ills[0] in OF_RANGES and "Range" not in self.headers else ills.popleft()

    def control(self, body):
        if body:
            self.server.reset(**json.loads(body))
        state = {"asked": self.server.asked, "sent": self.server.sent}
        self.give(200, {}, json.dumps(state).encode(), counted=False)

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == CONTROL:
            self.control(body)
            return
        self.server.asked.append((self.command, self.path, self.headers.get("Range", "")))
        ill, headers = self.next_ill(), dict(self.headers)
        if isinstance(ill, int):
            content = f"<Error><Code>{'SlowDown' if ill == 503 else 'InternalError'}</Code></Error>".encode()
            self.give(ill, {"Content-Type": "application/xml"}, content)
            return
        if ill == "other range" and "Range" in headers:
            headers["Range"] = "bytes=1-9"
        if ill == "whole":
            headers.pop("Range", None)
        if ill in SECONDS:
            time.sleep(SECONDS[ill])
        behind = http.client.HTTPConnection(*self.server.behind)
        behind.request(self.command, self.path, body, headers)
        found = behind.getresponse()
        content = found.read()
        self.give(found.status, dict(found.getheaders()), content, cut=ill == "cut")
        behind.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def give(self, status, headers, content, cut=False, counted=True):
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        content = content[: len(content) // 2] if cut else content
        self.server.sent += len(content) * counted
        if self.command != "HEAD":
            self.wfile.write(content)
        self.close_connection = cut or self.close_connection


def arrays(path):
    """What is in an HDF5 file."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    return found


def main():
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    server = Server(moto.get_host_and_port())
    print(json.dumps({"proxy": server.server_port, "moto": moto.get_host_and_port()[1]}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # until the tests end


if __name__ == "__main__":
    main()
