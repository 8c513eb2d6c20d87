"""A build whose list is full of secrets, and of names that are no text, publishes without them."""

import base64
import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pyarrow.parquet as pq
import pytest

from avipipe.annotators.full.caption_reply import Reply
from avipipe.annotators.full.endpoint import KEY_ENV, MODEL_ENV, URL_ENV, EndpointCaptioner
from avipipe.errors import AnnotatorError, ConfigError
from avipipe.pipeline.private import NAME as PRIVATE
from avipipe.services.chat import ChatServer
from avipipe.services.http import EXCERPT_BYTES, RetryPolicy
from tests.integration.builds import (
    Ended,
    assert_adds_up,
    avipipe,
    command,
    environment,
    status,
)
from tests.integration.chat_server import GOOD, Answer, chat_server, says

KEY = "sk-of/the-caption+endpoint"
USER, PASSWORD = "ann-of-the-archive", "pass-w0rd"
SECRETS = {
    name: f"{name}-s3cret-4711"
    for name in ("token", "signature", "expired", "moved", "target", "page", "inner", "nothing")
} | {"dead": "dead-s3cret", "bucket": "bucket-s3cret", "frag": "frag-s3cret", "thumb": "th-s3cret"}
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
PLANTED = [*SECRETS.values(), USER, PASSWORD, BASIC, KEY, quote(KEY, safe=""), KEY[:12]]
NAME = b"caf\xe9 \x1b[31m.mp4"
TITLE = "Half &#xD800; a title \x1b[2J of {page}".format_map(SECRETS)


class Server(ThreadingHTTPServer):
    """Gives two videos to who has the right tokens, and repeats whatever it is told."""

    daemon_threads = True

    def __init__(self, videos: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.videos = videos
        self.asked: list[str] = []

    def url(self, rest: str, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_port}{rest}".format_map(SECRETS)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        parts = urlsplit(self.path)
        told = {name: values[0] for name, values in parse_qs(parts.query).items()}
        html = {"Content-Type": "text/html"}
        match parts.path:
            case "/get.mp4" if told.get("token") == SECRETS["token"]:
                self.answer(200, self.server.videos["bounce"])
            case "/signed.mp4" if told.get("X-Amz-Signature") == SECRETS["signature"]:
                self.answer(200, self.server.videos["strike"])
            case "/basic.mp4" if self.headers.get("Authorization") == f"Basic {BASIC}":
                self.answer(200, self.server.videos["strike"])
            case "/moved.mp4":
                target = self.server.url("/gone.mp4?auth={target}")
                self.answer(302, b"", {"Location": target})
            case "/page" if told.get("access_token") == SECRETS["page"]:
                video = self.server.url("/inner.mp4?k={inner}")
                page = f"<html><title>{TITLE}</title><body><video src='{video}'></video></body>"
                self.answer(200, page.encode(), html)
            case "/inner.mp4" if told.get("k") == SECRETS["inner"]:
                self.answer(200, self.server.videos["bounce"])
            case "/stalled.mp4":
                self.answer(200, b"half", {"Content-Length": "100", "ETag": '"1"'})
                time.sleep(60)
            case "/nothing":
                self.answer(200, b"<html><body>nothing here</body></html>", html)
            case _:
                said = f"{self.path} {self.headers.get('Authorization')} is no good"
                self.answer(403, said.encode(), reason=said)

    def answer(
        self,
        code: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        self.send_response(code, reason)
        defaults = {"Content-Type": "video/mp4", "Content-Length": str(len(body))}
        for name, value in {**defaults, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass(frozen=True)
class Built:
    """A build and what was printed."""

    out: Path
    listing: Path
    server: Server
    printed: list[Ended]
    options: tuple[str, ...]

    def run(self, *words: str | Path) -> Ended:
        done = avipipe(*words)
        self.printed.append(done)
        return done

    def rows(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.out / "manifest" / name).to_pylist()
        return rows


def listed(server: Server) -> list[dict[str, str]]:
    user = f"{USER}:{PASSWORD}@"
    urls = [
        server.url("/get.mp4?id=7&token={token}"),
        server.url("/signed.mp4?X-Amz-Signature={signature}&X-Amz-Expires=60"),
        server.url("/basic.mp4", user),
        server.url("/refused.mp4?token={expired}"),
        server.url("/refused.mp4?id=1&token={expired}#{frag}"),
        server.url("/moved.mp4?key={moved}"),
        server.url("/page?access_token={page}"),
        server.url("/nothing?session={nothing}"),
        f"http://{user}127.0.0.1:9/x.mp4?token={SECRETS['dead']}",
        f"s3://{USER}:{SECRETS['bucket']}@bucket/x.mp4",
        os.fsdecode(NAME),
        "no\0such\ud800.mp4",
        "x" * 5000 + ".mp4",
    ]
    thumbnail = f"https://cdn.org/t.jpg?sig={SECRETS['thumb']}"
    return [{"url": url, "note": "a \ud800\x1b[31m note", "thumbnail": thumbnail} for url in urls]


def told(body: Mapping[str, Any], number: int) -> Answer:
    """Captions that repeat the key, in characters that JSON spells out; and one refusal."""
    if number == 0:
        return Answer(400, f"no: Bearer {KEY}".encode(), reason=f"bad request with {KEY}")
    caption = json.loads(GOOD) | {"caption": f"A ball hits the floor, says {KEY}."}
    answer = says(json.dumps(caption))
    spelt = answer.body.replace(KEY.encode(), "".join(f"\\u{ord(c):04x}" for c in KEY).encode())
    return Answer(body=spelt if number == 1 else answer.body)


@pytest.fixture(scope="module")
def videos(small_clips: Path) -> Mapping[str, bytes]:
    found = {kind: (small_clips / "clips").glob(f"{kind}-*.mp4") for kind in ("bounce", "strike")}
    return {kind: next(paths).read_bytes() for kind, paths in found.items()}


@contextlib.contextmanager
def serving(videos: Mapping[str, bytes]) -> Iterator[Server]:
    with Server(videos) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def ready(folder: Path, videos: Mapping[str, bytes], executor: str) -> Iterator[Built]:
    """A list of secrets, and servers for it."""
    (folder / os.fsdecode(NAME)).write_bytes(videos["bounce"])
    listing = folder / "list.jsonl"
    settings = {
        "annotators.caption": "endpoint",
        "stages.fetch.retries": 1,
        "stages.fetch.backoff_s": 0.01,
        "stages.fetch.page_interval_s": 0,
        "stages.fetch.state_dir": folder / "hosts",
    }
    pairs = [word for key in settings for word in ("--set", f"{key}={settings[key]}")]
    with (
        serving(videos) as server,
        chat_server(told) as chat,
        pytest.MonkeyPatch.context() as patch,
    ):
        listing.write_text("\n".join(map(json.dumps, listed(server))))
        for name, value in ((URL_ENV, chat.url), (MODEL_ENV, "tiny-vl"), (KEY_ENV, KEY)):
            patch.setenv(name, value)
        yield Built(folder / "out", listing, server, [], (*pairs, "--executor", executor))


def build(built: Built) -> None:
    done = built.run("-vv", "build", "--source", built.listing, "--out", built.out, *built.options)
    assert done.code == 0, done.err


@pytest.fixture(scope="module")
def built(videos: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with ready(tmp_path_factory.mktemp("secrets"), videos, "inline") as made:
        build(made)
        yield made


def found_in(data: bytes) -> list[str]:
    return [secret for secret in PLANTED if secret.encode() in data]


def assert_clean(built: Built) -> None:
    """No secret in any file but the private one, nor in what was printed."""
    for path in (path for path in built.out.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data = json.dumps(pq.read_table(path).to_pylist()).encode()
        if path.name != PRIVATE:
            assert found_in(data) == [], path
    for done in built.printed:
        assert found_in((done.out + done.err).encode()) == []
        assert not {"\x1b", "\ud800"} & set(done.out + done.err)


def test_the_build_accounts_for_every_line(built: Built) -> None:
    counts = status(built.out)
    assert_adds_up(counts)
    assert counts["fetch"]["in"] == len(listed(built.server))
    rows = {row["source_uri"].rpartition("/")[2]: row for row in built.rows("sources.parquet")}
    assert len(rows) == len(listed(built.server)), "every line has a row of its own"
    for name, row in rows.items():
        stem = name.partition("#")[0]
        expected = {
            "get.mp4?id=7": "ok",
            "signed.mp4": "ok",
            "page": "ok",
            "caf%E9%20%1B%5B31m.mp4": "ok",
            "refused.mp4": "private",
            "refused.mp4?id=1": "private",
            "moved.mp4": "private",
            "nothing": "unsupported_url",
            "no%00such%ED%A0%80.mp4": "no_such_file",
        }.get(stem)
        assert expected in (None, row["reason"] or row["status"]), row
    assert counts["fetch"]["reasons"]["fail:no_such_file"] == 2


def test_only_what_must_be_told_apart_has_a_hash(built: Built) -> None:
    uris = [row["source_uri"] for row in built.rows("sources.parquet")]
    hashed = {uri.partition("#")[0].rpartition("/")[2] for uri in uris if "#hidden=" in uri}
    assert "signed.mp4" not in hashed
    assert {"get.mp4?id=7", "basic.mp4", "refused.mp4", "refused.mp4?id=1", "page"} <= hashed


def test_titles_notes_and_captions_are_safe_text(built: Built) -> None:
    rows = {row["source_uri"]: row for row in built.rows("sources.parquet")}
    (page,) = [row for uri, row in rows.items() if "/page#" in uri]
    assert page["title"] == r"Half \ud800 a title \x1b[2J of *** (1)"
    (local,) = [row for uri, row in rows.items() if "caf%E9" in uri]
    assert local["title"] == r"caf\xe9 \x1b[31m"
    metadata = json.loads(local["metadata"])
    assert metadata == {"note": r"a \ud800\x1b[31m note", "thumbnail": "https://cdn.org/t.jpg"}
    captions = {row["caption.text"] for row in built.rows("clips.parquet")} - {None}
    assert captions == {"A ball hits the floor, says ***."}
    index = json.loads((built.out / "dataset.json").read_text())
    assert sum(split["num_samples"] for split in index["splits"].values()) == 2


def test_no_secret_is_written_or_printed(built: Built) -> None:
    assert_clean(built)
    private = built.out / "work" / PRIVATE
    assert private.stat().st_mode & 0o777 == 0o600
    assert SECRETS["token"] in private.read_text()


def test_commands_take_the_url_as_it_is_listed_and_do_not_repeat_it(built: Built) -> None:
    urls = [line["url"] for line in listed(built.server)]
    for url in (urls[0], urls[8]):
        done = built.run("why", url, "--out", built.out)
        assert done.code == 0, (url, done.err)
    local = os.fsdecode(os.fsencode(built.listing.parent) + b"/" + NAME)
    assert "fetch: kept" in built.run("why", local, "--out", built.out).out
    assert built.run("verify", "--fast", "--out", built.out).code == 0
    assert_clean(built)


def test_a_further_build_fetches_nothing_again_and_retry_finds_the_address(built: Built) -> None:
    asked = len(built.server.asked)
    build(built)
    assert len(built.server.asked) == asked
    refused = listed(built.server)[3]["url"]
    done = built.run("retry", refused, "--out", built.out)
    assert "1 failures forgotten" in done.out
    # Another list: the address is known from the first.
    other = built.listing.with_name("other.txt")
    other.write_text(f"{built.listing.parent / 'none.mp4'}\n")
    done = built.run("build", "--source", other, "--out", built.out, *built.options)
    assert done.code == 0, done.err
    assert built.server.asked[asked:] == [urlsplit(refused)._replace(scheme="", netloc="").geturl()]
    assert_clean(built)


def test_a_new_signature_is_no_new_source(built: Built) -> None:
    asked = len(built.server.asked)
    again = built.listing.with_name("signed.txt")
    again.write_text(built.server.url("/signed.mp4?X-Amz-Signature=renewed&X-Amz-Expires=60\n"))
    num_lines = status(built.out)["fetch"]["in"]
    done = built.run("build", "--source", again, "--out", built.out, *built.options)
    assert done.code == 0, done.err
    assert len(built.server.asked) == asked
    assert status(built.out)["fetch"]["in"] == num_lines


@pytest.mark.slow
def test_workers_of_ray_keep_secrets_too(videos: Mapping[str, bytes], tmp_path: Path) -> None:
    with ready(tmp_path, videos, "ray") as made:
        build(made)
        rows = {row["source_uri"]: row["status"] for row in made.rows("sources.parquet")}
        assert sum(value == "ok" for value in rows.values()) >= 4
        assert_clean(made)


def test_a_killed_build_leaves_no_secret_behind(tmp_path: Path) -> None:
    with serving({}) as server:
        url, out = server.url("/stalled.mp4?token={token}"), tmp_path / "out"
        words = command("build", "--source", url, "--out", out, "--executor", "inline")
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment())
        deadline_s = time.monotonic() + 120
        while not list(out.rglob("*.part")) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        process.kill()
        process.wait()
    files = [path for path in out.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".part"]
    assert [path.name for path in files if found_in(path.read_bytes())] == [PRIVATE]


ECHOES = {
    "reason": Answer(400, b"", reason=f"bad key {KEY}"),
    "body": Answer(400, f'{{"error": "Bearer {KEY}"}}'.encode()),
    "a body in JSON": Answer(400, json.dumps(KEY).replace("/", "\\/").encode()),
    "where an excerpt ends": Answer(400, b"x" * (EXCERPT_BYTES - 5) + KEY.encode()),
    "the user's fault": Answer(401, f"who is {KEY}?".encode(), reason=f"not {KEY}"),
    "busy": Answer(503, f"busy with {KEY}".encode(), reason=f"busy with {KEY}"),
    "redirect": Answer(302, headers={"Location": f"/login?was={quote(KEY, safe='')}"}),
    "other redirect": Answer(302, headers={"Location": f"https://{KEY[:5]}.org/?key={KEY}"}),
    "no completion": Answer(body=f"<html>{KEY}</html>".encode()),
    "no caption": says(f"I will not, {KEY}."),
}


@pytest.mark.parametrize("name", ECHOES)
def test_an_endpoint_that_repeats_the_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(lambda body, number: ECHOES[name]) as chat:
        for variable, value in ((URL_ENV, chat.url), (MODEL_ENV, "tiny-vl"), (KEY_ENV, KEY)):
            monkeypatch.setenv(variable, value)
        captioner = EndpointCaptioner(RetryPolicy(max_attempts=2, backoff_s=0.01))
        frames = np.zeros((1, 48, 64, 3), np.uint8)
        evidence = {"listen": {"tags": {}, "speech": []}, "look": {}, "cut": {"duration_s": 1.0}}
        with pytest.raises((AnnotatorError, ConfigError)) as caught:
            captioner.caption(frames, evidence={**evidence, "mask": {}})
    said = f"{caught.value} {getattr(caught.value, 'log_tail', '')}"
    assert KEY[:10] not in said
    assert quote(KEY, safe="")[:10] not in said
    assert "HTTP" in said or "***" in said


def test_a_placeholder_for_a_key_is_cut_out_of_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(lambda body, number: says(GOOD)) as chat:
        for variable, value in ((URL_ENV, chat.url), (MODEL_ENV, "tiny-vl"), (KEY_ENV, "content")):
            monkeypatch.setenv(variable, value)
        server = ChatServer.from_environment("AVIPIPE_CAPTION", who="x", later="y")
        assert server.complete([], schema=Reply, max_tokens=1) == GOOD
