"""A service such as an OpenAI-compatible endpoint, on loopback, that answers as a test tells it."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-secret-of-the-tests"
GOOD = json.dumps({"caption": "A ball hits the floor.", "label": "ball", "sounding": 0.9})


@dataclass(frozen=True)
class Answer:
    """What the server sends; `reason` stands behind the status."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None


def says(content: object, **more: object) -> Answer:
    """A chat completion with these words."""
    choice = {"message": {"role": "assistant", "content": content, **more}}
    return Answer(body=json.dumps({"choices": [choice]}).encode())


@dataclass
class ChatServer:
    """`respond` gets each request's body ({} of a GET) and its number, from 0."""

    respond: Callable[[Mapping[str, Any], int], Answer]
    url: str = ""
    requests: list[Mapping[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
        with self.lock:
            number = len(self.requests)
            self.paths.append(path)
            self.requests.append(body)
            self.headers.append(headers)
        return self.respond(body, number)


@contextmanager
def chat_server(respond: Callable[[Mapping[str, Any], int], Answer]) -> Iterator[ChatServer]:
    """Serve until the block ends."""
    chat = ChatServer(respond)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self.answer({})

        def answer(self, body: Mapping[str, Any]) -> None:
            answer = chat.take(self.path, dict(self.headers), body)
            try:
                self.send_response(answer.status, answer.reason)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            except OSError:
                pass  # the client had enough of waiting

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
