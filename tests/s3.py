"""An S3 server on this machine, and a proxy before it that goes wrong as asked."""

import http.client
import socket
import struct
import threading
import time
import xml.etree.ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from moto.server import ThreadedMotoServer

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def is_write(self) -> bool:
        return self.method in ("PUT", "POST", "DELETE")


@dataclass(frozen=True, slots=True)
class Fault:
    """How a request goes wrong, in this order.

    Attributes:
        delay_s: before anything happens.
        status: is answered at once, with `code` in a body of S3's form, or with `body`; 0 passes
            the request on.
        drops_reply: the request is carried out, and the connection cut before the reply.
        cuts_body: the same, halfway through the body of the reply.
        cuts: the connection is cut before anything else.
        loses: headers that the server does not see.
    """

    delay_s: float = 0.0
    status: int = 0
    code: str = ""
    message: str = "of the tests"
    facts: str = ""
    body: bytes | None = None
    drops_reply: bool = False
    cuts_body: bool = False
    cuts: bool = False
    loses: frozenset[str] = frozenset()


NO_FAULT = Fault()

_SIGNED = "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request"

CONDITIONS = frozenset({"if-match", "if-none-match"})


def answer(status: int, code: str, facts: str = "") -> Fault:
    return Fault(status=status, code=code, facts=facts)


PASSING_FAULTS = {
    "500": answer(500, "InternalError"),
    "503": answer(503, "SlowDown"),
    "409": answer(409, "ConditionalRequestConflict"),
    "cut": Fault(cuts=True),
    "dropped reply": Fault(drops_reply=True),
    "half a body": Fault(cuts_body=True),
}


@dataclass
class Proxy:
    """A context manager: listens while it is entered."""

    port: int
    """Of the server behind it."""
    spoil: Callable[[Request], Fault | None] = lambda request: None
    """Is asked about each request, by several threads at once."""
    seen: list[tuple[Request, int]] = field(default_factory=list)
    """Every request that was answered, and its status."""

    def __enter__(self) -> Self:
        proxy: Proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # As S3 does, and moto's threads do not: of two writes under a condition, one wins.
        self.writing = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What clients must know to use it."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL_S3": self.url}

    def reset(self) -> None:
        self.spoil = lambda request: None
        self.seen.clear()

    def spoil_once(self, fault: Fault, when: Callable[[Request], bool]) -> None:
        """Let the first request of a kind go wrong."""
        done = threading.Lock()
        self.spoil = lambda request: (
            fault if when(request) and done.acquire(blocking=False) else None
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Proxy

    def _serve(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        fault = self.owner.spoil(request) or NO_FAULT
        time.sleep(fault.delay_s)
        if fault.cuts:
            self._cut()
        elif fault.status:
            body = _error(fault) if fault.body is None else fault.body
            self._reply(request, fault.status, {}, body)
        else:
            self._pass_on(request, body, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _pass_on(self, request: Request, body: bytes, fault: Fault) -> None:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in fault.loses and name not in ("transfer-encoding", "expect", "connection")
        }
        headers["content-length"] = str(len(body))
        upstream = http.client.HTTPConnection("127.0.0.1", self.owner.port, timeout=60)
        try:
            if request.is_write:
                with self.owner.writing:
                    upstream.request(request.method, request.path, body, headers)
                    reply = upstream.getresponse()
                    content = reply.read()
            else:
                upstream.request(request.method, request.path, body, headers)
                reply = upstream.getresponse()
                content = reply.read()
        finally:
            upstream.close()
        if fault.drops_reply:
            self._cut()
        else:
            self._reply(request, reply.status, dict(reply.getheaders()), content, fault.cuts_body)

    def _reply(
        self,
        request: Request,
        status: int,
        headers: dict[str, str],
        content: bytes,
        cuts_body: bool = False,
    ) -> None:
        self.owner.seen.append((request, status))
        self.send_response_only(status)
        length = headers.get("Content-Length") if request.method == "HEAD" else None
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if request.method == "HEAD":
            return
        if cuts_body and content:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self._cut()
        else:
            self.wfile.write(content)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to the terminal."""

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            """The client, or a fault, has cut the connection."""


def _error(fault: Fault) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{fault.code}</Code><Message>{fault.message}</Message>{fault.facts}</Error>"
    ).encode()


def start_server() -> tuple[ThreadedMotoServer, int]:
    """moto's server, and its port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    return server, server.get_host_and_port()[1]


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as the server itself knows it, whatever the proxy does."""

    port: int
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def create(self) -> Self:
        self.ask("PUT", "")
        return self

    def keys(self) -> list[str]:
        listing = xml.etree.ElementTree.fromstring(self.ask("GET", "?list-type=2"))
        return sorted(str(key.text) for key in listing.iter() if key.tag.endswith("}Key"))

    def read(self, key: str) -> bytes:
        return self.ask("GET", key)

    def write(self, key: str, data: bytes) -> None:
        self.ask("PUT", key, data)

    def remove(self, key: str) -> None:
        self.ask("DELETE", key)

    def tree(self, prefix: str = "") -> dict[str, bytes]:
        """Every object under a prefix, by the rest of its key."""
        keys = [key for key in self.keys() if key.startswith(prefix)]
        return {key.removeprefix(prefix): self.read(key) for key in keys}

    def ask(
        self, method: str, key: str, data: bytes = b"", headers: dict[str, str] | None = None
    ) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(
                method, f"/{self.name}/{key}", data, {"Authorization": _SIGNED, **(headers or {})}
            )
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        if reply.status >= 400:
            raise FileNotFoundError(f"{method} {key}: {reply.status}")
        return content
