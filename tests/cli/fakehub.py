"""As much of a Hugging Face hub as `huggingface_hub` asks for, on a port of this machine.

Also a program, to look at `sartor model pull` without a network:

    python tests/cli/fakehub.py FOLDER [SECONDS]    # FOLDER/OWNER/NAME/FILE; a pull takes about SECONDS
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Repositories by name, each with its files; and how it misbehaves."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By repository: a status and the hub's word for the reason."""
    refuse_files: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The same, but only for files: what the repository has is told to anybody."""
    drops: list[int] = field(default_factory=list)
    """After how many bytes the next answers with content break off, one each."""
    lie: dict[str, bytes] = field(default_factory=dict)
    """Content by file, sent in place of what the hub tells of it."""
    ignores_ranges: bool = False
    seconds: float = 0
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, range and authorization of each."""
    url: str = ""

    def __enter__(self) -> FakeHub:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ranges(self) -> list[str]:
        """The ranges that were asked for of files, in order."""
        return [asked for path, asked, _ in self.requests if path.startswith("/cdn/")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ClassVar[FakeHub]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            self.repository(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.redirect(match[1], match[3])
        elif match := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            self.content(match[1], match[2])
        else:
            self.answer(404, b"")

    do_HEAD = do_GET

    def repository(self, name: str, revision: str | None) -> None:
        if self.refused(name):
            return
        if revision not in (None, "main", COMMIT):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        files = [
            {
                "rfilename": file,
                "size": len(content),
                "blobId": hashlib.sha1(content).hexdigest(),
                "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130},
            }
            for file, content in self.hub.repositories[name].items()
        ]
        told = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "siblings": files}
        self.answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def redirect(self, name: str, file: str) -> None:
        if name in self.hub.refuse_files:
            status, reason = self.hub.refuse_files[name]
            self.answer(status, b"{}", {"X-Error-Code": reason, "Content-Type": "application/json"})
        elif not self.refused(name):
            self.answer(302, b"", {"Location": f"{self.hub.url}/cdn/{name}/{file}", "X-Repo-Commit": COMMIT})

    def refused(self, name: str) -> bool:
        status, reason = self.hub.refuse.get(name, (0, ""))
        if name not in self.hub.repositories and not status:
            status, reason = 404, "RepoNotFound"
        if status:
            self.answer(status, b"{}", {"X-Error-Code": reason, "Content-Type": "application/json"})
        return bool(status)

    def content(self, name: str, file: str) -> None:
        whole = self.hub.lie.get(file, self.hub.repositories[name][file])
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(match[1]) if match and not self.hub.ignores_ranges else 0
        rest = whole[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(rest)))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
        self.end_headers()
        drop = self.hub.drops.pop(0) if self.hub.drops else None
        pieces = 100 if self.hub.seconds else 1
        step = max(1, -(-len(rest) // pieces))
        for at in range(0, len(rest[:drop]), step):
            self.wfile.write(rest[:drop][at : at + step])
            time.sleep(self.hub.seconds / pieces)
        if drop is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve a folder until interrupted."""
    root = Path(sys.argv[1])
    hub = FakeHub(seconds=float(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for file in root.glob("*/*/*"):
        hub.repositories.setdefault("/".join(file.parts[-3:-1]), {})[file.name] = file.read_bytes()
    with hub:
        print(f"export HF_ENDPOINT={hub.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
