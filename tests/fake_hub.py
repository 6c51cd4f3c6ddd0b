"""A Hugging Face hub on this machine: a server that plays as much of its API as its client asks for, and its cache."""

import json
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOKEN = "hf_secretsecretsecretsecret"


def commit_of(files):
    """A commit, as long as those of git, that is another one for other files."""
    digest = sha1()
    for name, content in sorted(files.items()):
        digest.update(name.encode() + content)
    return digest.hexdigest()


def files_in(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def lay_into_cache(cache, repo, folder, kind="model", branch="main"):
    """Put the files of a folder into a cache as the client does; the commit."""
    files = files_in(folder)
    commit = commit_of(files)
    place = Path(cache) / f"{kind}s--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "blobs").mkdir(exist_ok=True)
    (place / "refs" / branch).write_text(commit)
    for name, content in files.items():
        blob, link = place / "blobs" / sha1(content).hexdigest(), place / "snapshots" / commit / name
        blob.write_bytes(content)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
    return commit


class FakeHub:
    """A hub that runs.

    Attributes
    ----------
    asked : method and path of all requests so far
    """

    def __init__(self):
        self.repos, self.asked, self.guards = {}, [], {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, repo, folder, kind="model", branch="main", guard=None):
        """Publish a folder; the commit. A guard is a status (and X-Error-Code) for those without the token."""
        files = files_in(folder)
        commit = commit_of(files)
        own = self.repos.setdefault((kind, repo), {"branches": {}, "commits": {}})
        own["branches"][branch], own["commits"][commit] = commit, files
        self.guards[kind, repo] = guard
        return commit

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append((self.command, path))
        if path.startswith("api/"):
            return self._api(path.removeprefix("api/"))
        if "/resolve/" in path:
            return self._file(path)
        return self._say(200, b"{}")

    do_HEAD = do_GET

    def _api(self, path):
        kind, _, rest = path.partition("/")
        for mark in ("/revision/", "/tree/"):
            if mark in rest:
                repo, _, revision = rest.partition(mark)
                found = self._commit(kind.removesuffix("s"), repo, revision)
                if found is None:
                    return None
                commit, files = found
                if mark == "/revision/":
                    siblings = [{"rfilename": name} for name in files]
                    return self._say(200, {"id": repo, "sha": commit, "siblings": siblings, "tags": [], "downloads": 0})
                entries = [
                    {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}
                    for name, content in files.items()
                ]
                return self._say(200, entries)
        return self._error(404, "RepoNotFound")

    def _file(self, path):
        repo, _, rest = path.partition("/resolve/")
        kind = "dataset" if repo.startswith("datasets/") else "model"
        revision, _, name = rest.partition("/")
        found = self._commit(kind, repo.removeprefix("datasets/"), revision)
        if found is None:
            return None
        commit, files = found
        if name not in files:
            return self._error(404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{sha1(files[name]).hexdigest()}"'}
        return self._say(200, files[name], headers)

    def _commit(self, kind, repo, revision):
        """Commit and files; None where an error was said."""
        if (kind, repo) not in self.hub.repos:
            return self._error(401 if "Authorization" not in self.headers else 404, "RepoNotFound")
        guard = self.hub.guards[kind, repo]
        if guard and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._error(*guard)
        own = self.hub.repos[kind, repo]
        commit = own["branches"].get(revision, revision)
        if commit not in own["commits"]:
            return self._error(404, "RevisionNotFound")
        return commit, own["commits"][commit]

    def _error(self, status, code):
        self._say(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code} if code else {})

    def _say(self, status, content, headers=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass
