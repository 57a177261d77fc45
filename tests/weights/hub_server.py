"""A small Hugging Face Hub on loopback: what huggingface_hub asks for to download, and to publish without Xet."""

import base64
import hashlib
import importlib
import itertools
import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

Files = dict[str, bytes]


@dataclass
class Repo:
    """A repository: commits, and the names of some of them."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: Files) -> str:
        """A new state of `main`."""
        sha = hashlib.sha1(f"{len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs["main"] = sha
        return sha


@dataclass
class Hub:
    """What is served, what goes wrong on purpose, and what was asked for."""

    url: str = ""
    cdn: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    uploads: Files = field(default_factory=dict)  # by sha256
    token: str = "hf_right"
    cut: dict[str, list[int]] = field(default_factory=dict)  # file -> after how many bytes each answer ends
    busy: int = 0  # how many answers are 429
    altered: set[str] = field(default_factory=set)
    log: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # method, path, headers

    def asked(self, method: str, end: str = "") -> list[dict[str, str]]:
        """Headers of the requests of this kind."""
        return [headers for verb, path, headers in self.log if verb == method and path.endswith(end)]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append((self.command, path, {name.lower(): value for name, value in self.headers.items()}))
        if self.hub.busy:
            self.hub.busy -= 1
            self._answer(429, b"", {"Retry-After": "7"})
        elif path.startswith("/cdn/"):
            self._file(path.split("/")[2], path.split("/")[3], {})
        elif path.startswith("/upload/"):
            self.hub.uploads[path.split("/")[2]] = body
            self._answer(200, b"")
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/resolve/" in path:
            name, rest = path[1:].split("/resolve/")
            self._resolve(name, *rest.split("/", 1))
        elif path.startswith("/api/models/"):
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            self._api(f"{owner}/{name}", rest, body)
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        else:
            raise AssertionError(f"huggingface_hub asks for something new: {self.command} {path}")

    def _authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _repo(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self._authorized()):
            self._refuse(401 if not self._authorized() else 404, "RepoNotFound", "Repository not found")
            return None
        if repo.gated and not self._authorized():
            self._refuse(401, "GatedRepo", "Access to this model is restricted")
            return None
        return repo

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        sha = repo.refs.get(revision, revision)
        if sha not in repo.commits:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        about = {"X-Repo-Commit": sha}
        if file not in repo.commits[sha]:
            return self._refuse(404, "EntryNotFound", "Entry not found", about)
        data = repo.commits[sha][file]
        digest = hashlib.sha256(data).hexdigest()
        if not file.endswith(".safetensors"):
            return self._file(digest, file, about | {"ETag": f'"{hashlib.sha1(data).hexdigest()}"'}, data)
        self.hub.uploads[digest] = data
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        self._answer(302, b"", about | linked | {"Location": f"{self.hub.cdn}/cdn/{digest}/{file}"})

    def _file(self, digest: str, file: str, headers: dict[str, str], data: bytes | None = None) -> None:
        data = self.hub.uploads[digest] if data is None else data
        if file in self.hub.altered:
            data = data[:-1] + bytes([data[-1] ^ 1])
        status, start = 200, 0
        if asked := self.headers.get("Range"):
            status, start = 206, int(asked.removeprefix("bytes=").rstrip("-"))
            headers = headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        cuts = self.hub.cut.get(file)
        self._answer(status, data[start:], headers, cuts.pop(0) if cuts and self.command == "GET" else None)

    def _api(self, name: str, rest: list[str], body: bytes) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        files = repo.commits.get(repo.refs.get("main", ""), {})
        if not rest or rest[0] == "revision":
            self._json({"id": name, "sha": repo.refs.get("main"), "private": repo.private, "siblings": []})
        elif rest[0] == "tree":
            sizes = {file: len(data) for file, data in files.items()}
            self._json([{"type": "file", "path": f, "size": size, "oid": "0" * 40} for f, size in sizes.items()])
        elif not self._authorized():
            self._refuse(403, "", "Forbidden")
        elif rest[0] == "preupload":
            names = [entry["path"] for entry in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in names}
            self._json({"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]})
        elif rest[0] == "commit":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files = files | {value["path"]: base64.b64decode(value["content"])}
                elif line["key"] == "lfsFile":
                    files = files | {value["path"]: self.hub.uploads[value["oid"]]}
                elif line["key"] == "deletedFile":
                    files = {path: data for path, data in files.items() if path != value["path"]}
            sha = repo.commit(files)
            self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if not self._authorized():
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        private = wanted.get("private") is True or wanted.get("visibility") == "private"  # by version
        status = 409 if name in self.hub.repos else 200
        self.hub.repos.setdefault(name, Repo(private=private))
        self._json({"url": f"{self.hub.url}/{name}"}, status)

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = asked["objects"]
        for entry in objects:
            entry["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{entry['oid']}"}}
        self._json({"transfer": "basic", "objects": objects})

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message} | (headers or {}))

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut])
        if cut is not None:
            self.close_connection = True


def serve() -> tuple[Hub, ThreadingHTTPServer]:
    """Start it on a free port; shut the second down in the end."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    # another origin, as on the real Hub: tokens must not go there
    hub.url, hub.cdn = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return hub, server


def use(hub: Hub, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point this process at it: huggingface_hub read its environment when it was imported."""
    importlib.import_module("huggingface_hub.hf_api")  # and with it all that matters

    values = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": cache,
        "HF_TOKEN_PATH": f"{cache}/no-token",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }
    modules = [module for name, module in sys.modules.items() if name.startswith("huggingface_hub.")]
    for module, name in itertools.product(modules, values):
        if name in vars(module):  # older versions copy some
            monkeypatch.setattr(module, name, values[name])
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
