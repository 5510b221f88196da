"""A stand-in for the Hub on loopback, for its real clients: repositories, commits, and faults."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_FILE = re.compile(
    r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<name>.+)"
)
_API = re.compile(r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)(?:/(?P<rest>.*))?")


@dataclass
class Repository:
    """One repository: the files of each of its branches and tags."""

    branches: dict[str, dict[str, bytes]]
    gated: bool = False

    def commit(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag, or of a commit itself."""
        known = {name: self._digest(files) for name, files in self.branches.items()}
        return known.get(revision) or (revision if revision in known.values() else None)

    def files(self, revision: str) -> dict[str, bytes]:
        """Return the files of a revision that ``commit`` knows."""
        commit = self.commit(revision)
        return next(files for files in self.branches.values() if self._digest(files) == commit)

    @staticmethod
    def _digest(files: dict[str, bytes]) -> str:
        content = [f"{name} {hashlib.sha1(body).hexdigest()}" for name, body in files.items()]
        return hashlib.sha1("\n".join(sorted(content)).encode()).hexdigest()


@dataclass
class Hub:
    """What is served, what goes wrong, and what was asked for.

    Attributes:
        repositories: by ``models/org/name`` or ``datasets/org/name``.
        cut: file names → bytes after which the first answer with them breaks off.
        status: the HTTP status of every answer, where the Hub is to be out of order.
        asked: ``METHOD path`` of each request.
    """

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    status: int | None = None
    asked: list[str] = field(default_factory=list)

    def add(self, name: str, files: dict[str, bytes] | Path, **settings: Any) -> Repository:
        """Serve files, or those of a folder, as the main branch of a repository."""
        if isinstance(files, Path):
            found = [path for path in files.rglob("*") if path.is_file()]
            files = {str(path.relative_to(files)): path.read_bytes() for path in found}
        self.repositories[name] = Repository({"main": files}, **settings)
        return self.repositories[name]


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hub does, as far as its clients ask."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output free of requests: ``Hub.asked`` has them."""

    def reply(self, code: int, body: bytes = b"", **headers: Any) -> None:
        self.send_response(code)
        headers = {"Content_Length": len(body)} | headers
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, code: int, word: str) -> None:
        self.reply(code, b'{"error": "no"}', X_Error_Code=word, X_Error_Message=word)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        url = urlsplit(self.path)
        path = unquote(url.path)
        if self.hub.status is not None:
            self.refuse(self.hub.status, "Broken")
            return
        found = _FILE.fullmatch(path) or _API.fullmatch(path)
        if found is None:
            self.refuse(404, "EntryNotFound")
            return
        kind = (found["kind"] or "models").strip("/")
        repository = self.hub.repositories.get(f"{kind}/{found['repo']}")
        if repository is None:
            self.refuse(401, "RepoNotFound")
        elif found.re is _FILE:
            self.file(repository, found["rev"], found["name"])
        else:
            self.api(
                repository,
                found["repo"],
                found["rest"] or "",
                "recursive=true" in url.query.lower(),
            )

    def file(self, repository: Repository, revision: str, name: str) -> None:
        commit = repository.commit(revision)
        if repository.gated:
            self.refuse(403, "GatedRepo")
        elif commit is None:
            self.refuse(404, "RevisionNotFound")
        elif name not in repository.files(revision):
            self.reply(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        else:
            self.content(name, repository.files(revision)[name], commit)

    def content(self, name: str, body: bytes, commit: str) -> None:
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        headers = {"ETag": tag, "X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        code = 200
        if start is not None:
            first, whole = int(start[1]), len(body)
            headers["Content_Range"] = f"bytes {first}-{whole - 1}/{whole}"
            code, body = 206, body[first:]
        length = len(body)
        if self.command == "GET" and name in self.hub.cut:
            body = body[: self.hub.cut.pop(name)]
            self.close_connection = True
        self.reply(code, body, Content_Length=length, **headers)

    def api(self, repository: Repository, name: str, rest: str, deep: bool) -> None:
        call, _, where = rest.partition("/")
        revision, _, folder = where.partition("/")
        if repository.commit(revision or "main") is None:
            self.refuse(404, "RevisionNotFound")
        elif call == "paths-info":
            self.answer([])
        elif call == "tree":
            self.tree(repository.files(revision), folder, deep)
        elif call in ("", "revision"):
            self.answer(describe(repository, name, revision or "main"))
        else:
            self.refuse(404, "EntryNotFound")

    def tree(self, files: dict[str, bytes], folder: str, deep: bool) -> None:
        prefix = f"{folder}/" if folder else ""
        inside = [name for name in files if name.startswith(prefix)]
        if not inside:
            self.refuse(404, "EntryNotFound")
            return
        parents = {str(p) for name in inside for p in Path(name).parents} - {".", folder}
        found: list[dict[str, Any]] = [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": name} for name in parents
        ]
        for name in inside:
            oid = hashlib.sha1(files[name]).hexdigest()
            found.append({"type": "file", "oid": oid, "size": len(files[name]), "path": name})
        level = prefix.count("/")
        self.answer([item for item in found if deep or item["path"].count("/") == level])

    def answer(self, value: Any) -> None:
        self.reply(200, json.dumps(value).encode(), Content_Type="application/json")


def describe(repository: Repository, name: str, revision: str) -> dict[str, Any]:
    """Return what the Hub tells of a repository at a revision."""
    return {
        "_id": "0",
        "id": name,
        "author": name.split("/")[0],
        "sha": repository.commit(revision),
        "private": False,
        "gated": "manual" if repository.gated else False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "cardData": {},
        "createdAt": "2026-01-01T00:00:00.000Z",
        "lastModified": "2026-01-01T00:00:00.000Z",
        "siblings": [{"rfilename": file} for file in repository.files(revision)],
    }


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a Hub on a free port of the loopback address."""
    hub = Hub()
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
