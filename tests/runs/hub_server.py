"""A stand-in of the Hub's API on this machine: what its client calls to push a model and to fetch files of one."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

TOKEN = "hf_" + "secretsecret" * 3
READER = "hf_" + "reader" * 5
Files = dict[str, bytes]


@dataclass
class Repo:
    """A repository: the commits of its branches, and the files of each commit."""

    private: bool
    branches: dict[str, list[str]] = field(default_factory=dict)
    commits: dict[str, Files] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: Files, message: str = "") -> str:
        """Add a commit to a branch."""
        name = hashlib.sha1(f"{branch} {len(self.commits)}".encode()).hexdigest()
        self.commits[name] = files
        self.branches.setdefault(branch, []).append(name)
        self.messages.append(message)
        return name

    def named(self, revision: str) -> str | None:
        """Return the commit that a revision means."""
        return revision if revision in self.commits else (self.branches.get(revision) or [None])[-1]


class Hub(ThreadingHTTPServer):
    """The server. `anna` owns the token that may write; `requests` notes what was asked, without its headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.captive = False  # whether a page answers instead, as in a hotel's network
        self.created: list[dict[str, Any]] = []
        self.size_of: Callable[[str, bytes], int] = lambda name, content: len(content)  # that a HEAD answers
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        length = headers.pop("length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status: int, code: str = "") -> None:
        self.answer(status, {"error": code or "refused"}, **({"X_Error_Code": code} if code else {}))

    @property
    def who(self) -> str:
        """Who asks: `anna`, `bob` who may read, or nobody."""
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        return {TOKEN: "anna", READER: "bob"}.get(token, "")

    def found(self, name: str, revision: str) -> tuple[Repo, str] | None:
        repo = self.server.repos.get(name)
        if repo is None or (repo.private and self.who != name.partition("/")[0]):
            self.refuse(401, "RepoNotFound")
            return None
        commit = repo.named(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound")
            return None
        return repo, commit

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlparse(self.path).path.strip("/").split("/")]
        self.server.requests.append((self.command, "/".join(parts)))
        if self.server.captive:
            self.answer(200, b"<html>Log in to the network of the hotel</html>")
        elif parts[:2] == ["api", "models"]:
            name, kind, revision = "/".join(parts[2:4]), parts[4:5], (parts[5:6] or ["main"])[0]
            if (found := self.found(name, revision)) is None:
                return
            repo, commit = found
            files = repo.commits[commit]
            if kind == ["tree"]:
                self.answer(200, [self.entry(path, content) for path, content in files.items()])
            else:
                about = {"id": name, "sha": commit, "private": repo.private, "tags": []}
                self.answer(200, {**about, "siblings": [{"rfilename": path} for path in files]})
        elif parts[2:3] == ["resolve"]:
            if (found := self.found("/".join(parts[:2]), parts[3])) is None:
                return
            repo, commit = found
            path = "/".join(parts[4:])
            content = repo.commits[commit].get(path)
            if content is None:
                self.answer(404, {}, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
                return
            tag = f'"{hashlib.sha1(content).hexdigest()}"'
            size = str(self.server.size_of(path, content)) if self.command == "HEAD" else str(len(content))
            self.answer(200, content, X_Repo_Commit=commit, ETag=tag, length=size)
        else:
            self.refuse(404)

    do_HEAD = do_GET

    def entry(self, path: str, content: bytes) -> dict[str, Any]:
        """Return a file as a listing has it; large ones are kept apart, as of git-lfs."""
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry = {"type": "file", "path": path, "size": len(content), "oid": git}
        if large(path):
            large_file = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            entry |= {"lfs": large_file}
        return entry

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = [unquote(part) for part in urlparse(self.path).path.strip("/").split("/")]
        self.server.requests.append((self.command, "/".join(parts)))
        if parts == ["api", "validate-yaml"]:
            self.answer(200, {"errors": [], "warnings": []})
        elif not self.who:
            self.refuse(401)
        elif parts == ["api", "repos", "create"]:
            self.create(json.loads(body))
        elif self.who != (parts[2] if parts[0] == "api" else parts[0]):
            self.refuse(403)
        elif parts[0] == "api":
            self.change("/".join(parts[2:4]), parts[4], parts[5], body)
        elif parts[2:] == ["info", "lfs", "objects", "batch"]:
            wanted = json.loads(body)["objects"]
            href = f"{self.server.address}/lfs/"
            objects = [{**one, "actions": {"upload": {"href": href + one["oid"]}}} for one in wanted]
            self.answer(200, {"transfer": "basic", "objects": objects})

    def create(self, asked: dict[str, Any]) -> None:
        if asked["organization"] != self.who:
            self.refuse(403)
            return
        name = f"{asked['organization']}/{asked['name']}"
        self.server.created.append(asked)
        private = asked.get("private", False) or asked.get("visibility") == "private"
        self.server.repos[name] = Repo(private)
        self.server.repos[name].commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.answer(200, {"url": f"{self.server.address}/{name}", "id": name})

    def change(self, name: str, what: str, revision: str, body: bytes) -> None:
        repo = self.server.repos[name]
        if what == "branch":
            repo.branches[revision] = [repo.branches["main"][-1]]
            self.answer(200, {})
        elif what == "preupload":
            files = [
                {"path": one["path"], "uploadMode": "lfs" if large(one["path"]) else "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif what == "commit":
            header, *changes = [json.loads(line) for line in body.splitlines()]
            before = repo.named(revision)
            assert before is not None
            files = dict(repo.commits[before])
            for change in changes:
                value = change["value"]
                if change["key"] == "deletedFile":
                    del files[value["path"]]
                else:
                    lfs = change["key"] == "lfsFile"
                    content = self.server.objects[value["oid"]] if lfs else base64.b64decode(value["content"])
                    files[value["path"]] = content
            commit = repo.commit(revision, files, header["value"]["summary"])
            self.answer(200, {"commitUrl": f"{self.server.address}/{name}/commit/{commit}", "commitOid": commit})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        self.answer(200, {})


def large(path: str) -> bool:
    """Return whether a file is kept apart, as of git-lfs."""
    return path.endswith((".safetensors", ".html"))
