"""A server on this machine: the part of the hub's API that pins need, and plain files."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

COMMIT = "0123456789" * 4
GATED, HIDDEN = "GatedRepo", "RepoNotFound"


@dataclass
class Repository:
    """Files at one commit; those in ``small`` are no LFS files, and have git's hash only."""

    files: dict[str, bytes]
    commit: str = COMMIT
    small: tuple[str, ...] = ()
    error: str = ""


@dataclass
class LocalHub:
    """Serves while it is entered; ``asked`` keeps methods and paths."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    #: What the server announces of plain files beyond what it sends.
    withheld_bytes: int = 0
    asked: list[str] = field(default_factory=list)
    #: Of files, in answers to requests for a range.
    sent_bytes: int = 0

    def __enter__(self) -> LocalHub:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.hub.asked.append(f"{self.command} {self.path}")
        owner, name, _, revision = self._api()
        if repository := self._open(f"{owner}/{name}", revision):
            wanted = [path for path in form["paths"] if path in repository.files]
            self._send(json.dumps([_entry(repository, path) for path in wanted]).encode())

    def _answer(self, with_body: bool) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        if self.path.startswith(("/api/models/", "/api/datasets/")):
            self._describe(*self._api())
        elif "/resolve/" in self.path:
            place, _, rest = self.path[1:].partition("/resolve/")
            revision, _, path = unquote(rest).partition("/")
            if repository := self._open(place, revision):
                self._file(repository, path, with_body)
        elif self.path in self.hub.files:
            self._send(self.hub.files[self.path], more=self.hub.withheld_bytes)
        else:
            self._refuse(404)

    def _api(self) -> list[str]:
        kind, *rest = self.path.partition("?")[0].removeprefix("/api/").split("/")
        owner = f"datasets/{rest[0]}" if kind == "datasets" else rest[0]
        return [owner, *rest[1:]]

    def _describe(
        self, owner: str, name: str, what: str = "", revision: str = "", *folder: str
    ) -> None:
        if repository := self._open(f"{owner}/{name}", revision):
            about = {"id": f"{owner}/{name}", "sha": repository.commit}
            about |= {"tags": [], "private": False, "disabled": False, "downloads": 0, "likes": 0}
            inside = "".join(f"{part}/" for part in folder)
            there = [path for path in repository.files if path.startswith(inside)]
            tree = [_entry(repository, path) for path in there]
            self._send(json.dumps(tree if what == "tree" else about).encode())

    def _open(self, name: str, revision: str) -> Repository | None:
        repository = self.hub.repositories.get(name, Repository({}, error=HIDDEN))
        if repository.error:
            self._refuse(401, repository.error)
            return None
        if revision not in ("", repository.commit):
            self._refuse(404, "RevisionNotFound")
            return None
        return repository

    def _file(self, repository: Repository, path: str, with_body: bool) -> None:
        if path not in repository.files:
            self._refuse(404, "EntryNotFound")
            return
        content = repository.files[path]
        etag = _git_hash(content) if path in repository.small else sha256(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": repository.commit}
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            self.hub.sent_bytes += int(last) + 1 - int(first)
            self._send(content[int(first) : int(last) + 1], headers, with_body, status=206)
            return
        self._send(content, headers, with_body=with_body)

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(
        self,
        content: bytes,
        headers: dict[str, str] | None = None,
        with_body: bool = True,
        more: int = 0,
        status: int = 200,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content) + more), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def _entry(repository: Repository, path: str) -> dict[str, Any]:
    content = repository.files[path]
    entry = {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}
    if path not in repository.small:
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 128}
    return entry


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
