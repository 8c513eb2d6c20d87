"""A loopback server of weights: plain files, and as much of a model hub as a pull asks for."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_allowed"


class WeightServer(ThreadingHTTPServer):
    """Attributes:
    files: by path. Those under `/broken/` break off half-way the first time, those under
        `/refused/` are refused.
    repository: `owner/name` of the one hub repository, and `gated` whether it asks for a token.
    models: its files.
    repeats: whether it refuses everything, and tells with which token it was asked.
    ranges: of the requests that asked for a part, by path.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.repository = "someone/tiny"
        self.models: dict[str, bytes] = {}
        self.gated = False
        self.wrong_sha256 = False
        self.repeats = False
        self.asked: Counter[str] = Counter()
        self.ranges: dict[str, str] = {}

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


@contextmanager
def running() -> Iterator[WeightServer]:
    server = WeightServer()
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    server: WeightServer

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked[path] += 1
        hub = f"/{self.server.repository}/resolve/{COMMIT}/"
        if self.server.repeats:
            said = f"{self.headers.get('Authorization')} is no good"
            error = json.dumps({"error": said}).encode()
            self.send(400, error, {"X-Error-Message": said}, reason=said)
        elif path.startswith(f"/api/models/{self.server.repository}"):
            self.send(200, json.dumps(self.model_info()).encode())
        elif path.startswith(hub):
            if self.server.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.send(403, b"", {"X-Error-Code": "GatedRepo"})
            else:
                self.send_file(self.server.models.get(path.removeprefix(hub)))
        elif path.startswith("/refused/"):
            self.send(403, b"")
        elif path.endswith(".html"):
            self.send(200, b"<html>", {"Content-Type": "text/html"})
        else:
            self.send_file(self.server.files.get(path))

    def send_file(self, data: bytes | None) -> None:
        if data is None:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{sha256(data)}"', "X-Repo-Commit": COMMIT}
        part = self.headers.get("Range")
        if part is not None:
            self.server.ranges[self.path] = part
            start = int(part.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send(206, data[start:], headers)
        elif self.path.startswith("/broken/") and self.server.asked[self.path] == 1:
            self.send(200, data[: len(data) // 2], headers | {"Content-Length": str(len(data))})
        else:
            self.send(200, data, headers)

    def send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        self.send_response(status, reason)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def model_info(self) -> dict[str, object]:
        siblings = []
        for name, data in self.server.models.items():
            value = "0" * 64 if self.server.wrong_sha256 else sha256(data)
            lfs = {"sha256": value, "size": len(data), "pointerSize": 134}
            siblings.append(
                {"rfilename": name, "size": len(data), "blobId": "0" * 40}
                | ({"lfs": lfs} if name.endswith(".safetensors") else {})
            )
        return {"id": self.server.repository, "sha": COMMIT, "siblings": siblings}

    def log_message(self, format: str, *args: object) -> None:
        """Tests read their own output."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
