"""A loopback server that misbehaves in every way that servers do, and fetches from it."""

import contextlib
import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from avipipe.manifests.records import Fail, Keep, SourceLine, Span
from avipipe.stages.base import Item
from avipipe.stages.fetch import Fetch, FetchConfig

BODY = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
PAGE = b"<html><head><title>A page</title></head><body><video src='/ok.mp4'></video></body></html>"
TWO = b"<html><title>Two</title><body><video src='/ok.mp4'></video><video src='/b.mp4'></video>"
LIVE = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n5.ts\n"
MIME = {".mpd": "application/dash+xml", ".m3u8": "application/vnd.apple.mpegurl"}
MIME |= {".html": "text/html"}


class Server(ThreadingHTTPServer):
    """Attributes:
    requests: path and Range header of each request.
    files: what is served besides the known paths, whole or in ranges, by path.
    replies: what answers a request for a path in its own way.
    sent_bytes: of bodies, by path.
    """

    daemon_threads = True

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.files: dict[str, bytes] = {}
        self.replies: dict[str, Callable[[Handler], None]] = {}
        self.sent_bytes: Counter[str] = Counter()

    def count(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.requests)

    def url(self, path: str) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}{path}"

    def serve(self, folder: Path) -> None:
        """Serve the files of a folder."""
        self.files |= {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked_range = self.headers.get("Range")
        self.server.requests.append((self.path, asked_range))
        first = self.server.count(self.path) == 1
        if self.path in self.server.replies:
            return self.server.replies[self.path](self)
        match self.path:
            case "/ok.mp4" | "/my%20clip.mp4":
                self.answer(200, BODY)
            case "/empty.mp4":
                self.answer(200, b"")
            case "/moved.mp4":
                self.answer(302, b"", {"Location": "/ok.mp4"})
            case "/loop.mp4":
                self.answer(302, b"", {"Location": "/loop.mp4"})
            case "/500-then-200.mp4":
                self.answer(500 if first else 200, BODY)
            case "/429-then-200.mp4":
                self.answer(429 if first else 200, BODY, {"Retry-After": "1"} if first else {})
            case "/429-for-long.mp4":
                self.answer(429, b"", {"Retry-After": "3600"})
            case "/truncated.mp4":
                self.answer(200, BODY[: len(BODY) // 2], {"Content-Length": str(len(BODY))})
            case "/resumed.mp4" | "/changed.mp4":
                self.break_off_then_resume(asked_range)
            case "/slow.mp4":
                self.answer(200, BODY[:10], {"Content-Length": str(len(BODY))})
                time.sleep(2)
            case "/cookie.mp4":
                self.answer(200 if "session=42" in self.headers.get("Cookie", "") else 403, BODY)
            case "/page.html" | "/File:page.webm" | "/other/page.html":
                self.answer(200, PAGE, {"Content-Type": "text/html"})
            case "/two.html":
                self.answer(200, TWO, {"Content-Type": "text/html"})
            case "/none.html":
                self.answer(
                    200, b"<html><body>nothing here</body></html>", {"Content-Type": "text/html"}
                )
            case path if path in self.server.files:
                self.give(self.server.files[path], asked_range)
            case path:
                self.answer(int(path.strip("/").partition(".")[0]), b"")

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        defaults = {"Content-Type": "video/mp4", "Content-Length": str(len(body))}
        self.send_response(status)
        for name, value in (defaults | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.server.sent_bytes[self.path] += len(body)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def give(self, body: bytes, asked_range: str | None) -> None:
        """A file, or a range of it."""
        headers = {"Content-Type": MIME.get(Path(self.path).suffix, "video/mp4"), "ETag": '"a"'}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked_range or "")
        if match is None or self.headers.get("If-Range", '"a"') != '"a"':
            return self.answer(200, body, headers)
        first = int(match[1])
        last = min(int(match[2] or len(body)), len(body) - 1)
        span = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        self.answer(206, body[first : last + 1], headers | span)

    def break_off_then_resume(self, asked_range: str | None) -> None:
        changed = self.path == "/changed.mp4" and self.server.count(self.path) > 1
        tag = {"ETag": '"two"' if changed else '"one"'}
        if asked_range is None:
            length = {"Content-Length": str(len(BODY))}
            self.answer(200, BODY[:100_000], tag | length)
        elif self.headers["If-Range"] != tag["ETag"]:
            self.answer(200, BODY, tag)
        else:
            start = int(asked_range.removeprefix("bytes=").removesuffix("-"))
            span = {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"}
            self.answer(206, BODY[start:], tag | span)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running(host: str = "127.0.0.1") -> Iterator[Server]:
    with Server(host) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def config(folder: Path, **settings: Any) -> FetchConfig:
    quick = {
        "state_dir": folder / "hosts",
        "page_interval_s": 0,
        "backoff_s": 0.01,
        "timeout_s": 0.5,
        "retries": 2,
    }
    return FetchConfig.model_validate(quick | settings)


def item(uri: str | Path, span: Span | None = None, listed: Sequence[Span] = ()) -> Item:
    line = SourceLine(0, str(uri), span, "list.txt:1", ranges=tuple(listed))
    return Item(line.line_id, line, None, {}, {})


def fetch(
    folder: Path,
    uri: str | Path,
    out: str = "out",
    listed: Sequence[Span] = (),
    **settings: Any,
) -> tuple[Keep | Fail, Path]:
    target = folder / out
    target.mkdir()
    outcome = Fetch(config(folder, **settings)).run(item(uri, listed=listed), target)
    assert isinstance(outcome, Keep | Fail)
    return outcome, target


def kept(
    folder: Path,
    uri: str | Path,
    out: str = "out",
    listed: Sequence[Span] = (),
    **settings: Any,
) -> Keep:
    outcome, target = fetch(folder, uri, out, listed, **settings)
    assert isinstance(outcome, Keep), outcome
    assert sorted(path.name for path in target.iterdir()) == sorted(outcome.files)
    return outcome


def failed(folder: Path, uri: str, out: str = "out", **settings: Any) -> Fail:
    outcome, target = fetch(folder, uri, out, **settings)
    assert isinstance(outcome, Fail), outcome
    assert list(target.iterdir()) == []
    assert uri in outcome.message
    return outcome
