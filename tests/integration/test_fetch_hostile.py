"""Servers that reply what cannot be, or lead where nobody asked to go: no spoilt file is kept."""

import base64
import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avipipe.errors import FailKind
from avipipe.manifests.records import Fail
from avipipe.media import web_access
from avipipe.media.http_file import HttpFile
from avipipe.media.refusal import DownloadError
from avipipe.media.web_access import WebAccess
from tests.integration.fetching import BODY, SHA256, Handler, Server, failed, fetch, kept, running

HALF = len(BODY) // 2
USER, PASSWORD = "me@home", "s:cret/1"
USER_INFO = "me%40home:s%3Acret%2F1"


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with an address that counts as one of the internet."""
    real = web_access.is_public
    monkeypatch.setattr(web_access, "is_public", lambda ip: ip == "127.0.0.2" or real(ip))
    with running("127.0.0.2") as server:
        yield server


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Range": f"bytes {HALF - 9}-{len(BODY) - 1}/{len(BODY)}"}, BODY[HALF - 9 :]),
        ({"Content-Range": f"bytes {HALF}-{len(BODY) - 2}/{len(BODY)}"}, BODY[HALF:-1]),
        ({"Content-Range": f"bytes {HALF}-{len(BODY) - 1}/{len(BODY) + 1}"}, BODY[HALF:]),
        ({"Content-Range": f"bytes {HALF}-{len(BODY) - 1}/*"}, BODY[HALF:]),
        ({"Content-Range": f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}"}, BODY[HALF:] + b"more"),
        (
            {"Content-Range": f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}", "ETag": '"two"'},
            BODY[HALF:],
        ),
        ({"Content-Range": f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}", "ETag": ""}, BODY[HALF:]),
        ({"Content-Type": "multipart/byteranges; boundary=x"}, BODY[HALF:]),
        ({}, BODY),
        ({}, b""),
    ],
)
def test_a_part_that_is_not_exactly_the_rest_is_thrown_away(
    tmp_path: Path, server: Server, headers: dict[str, str], body: bytes
) -> None:
    """The first transfer breaks off; what answers the request for the rest does not fit."""

    def reply(handler: Handler) -> None:
        tag = {"ETag": '"one"'}
        match server.count("/x.mp4"):
            case 1:
                handler.answer(200, BODY[:HALF], tag | {"Content-Length": str(len(BODY))})
            case 2:
                assert handler.headers["Range"] == f"bytes={HALF}-"
                handler.answer(206, body, tag | headers)
            case _:
                assert "Range" not in handler.headers
                handler.answer(200, BODY, tag)

    server.replies["/x.mp4"] = reply
    assert kept(tmp_path, server.url("/x.mp4")).evidence["sha256"] == SHA256
    assert server.count("/x.mp4") == 3


def test_a_range_that_cannot_be_had_begins_again(tmp_path: Path, server: Server) -> None:
    def reply(handler: Handler) -> None:
        tag = {"ETag": '"one"'}
        if server.count("/x.mp4") == 1:
            handler.answer(200, BODY[:HALF], tag | {"Content-Length": str(len(BODY))})
        elif "Range" in handler.headers:
            handler.answer(416, b"")
        else:
            handler.answer(200, BODY, tag)

    server.replies["/x.mp4"] = reply
    assert kept(tmp_path, server.url("/x.mp4")).evidence["sha256"] == SHA256


def test_a_part_without_a_version_is_not_gone_on_with(tmp_path: Path, server: Server) -> None:
    """Without ETag and Last-Modified nothing tells that the rest is of the same file."""

    def reply(handler: Handler) -> None:
        assert "Range" not in handler.headers
        length = {"Content-Length": str(len(BODY))}
        handler.answer(200, BODY[:HALF] if server.count("/x.mp4") == 1 else BODY, length)

    server.replies["/x.mp4"] = reply
    assert kept(tmp_path, server.url("/x.mp4")).evidence["sha256"] == SHA256


def test_a_date_is_a_version_too(tmp_path: Path, server: Server) -> None:
    date = "Wed, 01 Jan 2025 00:00:00 GMT"

    def reply(handler: Handler) -> None:
        if server.count("/x.mp4") == 1:
            headers = {"Content-Length": str(len(BODY)), "Last-Modified": date}
            return handler.answer(200, BODY[:HALF], headers)
        assert handler.headers["If-Range"] == date
        span = {"Content-Range": f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}"}
        handler.answer(206, BODY[HALF:], span)

    server.replies["/x.mp4"] = reply
    assert kept(tmp_path, server.url("/x.mp4")).evidence["sha256"] == SHA256
    assert server.count("/x.mp4") == 2


@pytest.mark.parametrize(
    ("status", "headers", "body", "message"),
    [
        (206, {"Content-Range": f"bytes 0-99/{len(BODY)}"}, BODY[:100], "HTTP 206"),
        (206, {}, BODY, "HTTP 206"),
        (204, {}, b"", "HTTP 204"),
        (200, {"Content-Length": "many"}, BODY, "Content-Length"),
        (200, {"Content-Length": "-1"}, BODY, "Content-Length"),
        (200, {"Content-Length": f"+{len(BODY)}"}, BODY, "Content-Length"),
        (200, {"content-length": "7"}, BODY, "Content-Length"),  # a second one
        (200, {"Content-Encoding": "gzip"}, gzip.compress(BODY), "packed"),
        (200, {"Content-Encoding": "br"}, BODY, "packed"),
    ],
)
def test_a_reply_that_cannot_be_is_named(
    tmp_path: Path, server: Server, status: int, headers: dict[str, str], body: bytes, message: str
) -> None:
    server.replies["/x.mp4"] = lambda handler: handler.answer(status, body, headers)
    fail = failed(tmp_path, server.url("/x.mp4"))
    assert (fail.kind, fail.attempts) == (FailKind.BAD_REPLY, 1)
    assert message in fail.message


@pytest.mark.parametrize("is_whole", [True, False])
def test_chunks(tmp_path: Path, server: Server, is_whole: bool) -> None:
    def reply(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Content-Length", "5")  # void beside chunks
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n" % len(BODY) + BODY + (b"\r\n0\r\n\r\n" if is_whole else b""))

    server.replies["/x.mp4"] = reply
    if is_whole:
        assert kept(tmp_path, server.url("/x.mp4")).evidence["sha256"] == SHA256
    else:
        assert failed(tmp_path, server.url("/x.mp4"), retries=0).kind is FailKind.UNREACHABLE


def test_a_spoilt_part_is_not_taken_for_the_file_later(tmp_path: Path, server: Server) -> None:
    """What an earlier download left in the folder is gone on with only if it proves to fit."""
    (tmp_path / "media.part").write_bytes(b"x" * HALF)
    (tmp_path / "media.part.json").write_text('{"url": "http://other/x.mp4", "validator": "x"')
    path = HttpFile(WebAccess(server.url("/ok.mp4")), tmp_path).attempt()
    assert path is not None
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("name", ["x.mp4", "x.html"])
def test_too_large(tmp_path: Path, server: Server, name: str, announced: bool) -> None:
    """1 MB is allowed; an endless body is broken off soon after."""

    def reply(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp4")
        if announced:
            handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        try:
            while server.sent_bytes["/x.mp4"] < 100_000_000:
                handler.wfile.write(BODY)
                server.sent_bytes["/x.mp4"] += len(BODY)
        except ConnectionError:
            pass

    server.replies["/x.mp4"] = reply
    server.files["/x.html"] = b"<title>A page</title><video src='/x.mp4'></video>"
    fail = failed(tmp_path, server.url(f"/{name}"), max_gb=0.001, timeout_s=5)
    assert (fail.kind, fail.attempts) == (FailKind.TOO_LARGE, 1)
    assert "stages.fetch.max_gb" in fail.message
    assert server.sent_bytes["/x.mp4"] < 50_000_000


@pytest.mark.parametrize("value", ["9" * 40, "Fri, 31 Dec 9999 23:59:59 GMT", "1" * 5000])
def test_nobody_shuts_a_host_for_more_than_a_day(
    tmp_path: Path, server: Server, value: str
) -> None:
    server.replies["/x.mp4"] = lambda handler: handler.answer(429, b"", {"Retry-After": value})
    assert failed(tmp_path, server.url("/x.mp4")).kind is FailKind.RATE_LIMITED
    second, _ = fetch(tmp_path, server.url("/ok.mp4"), "second")
    assert isinstance(second, Fail)
    assert "left alone for 86400 s more" in second.message


def with_password(handler: Handler) -> bool:
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return bool(handler.headers["Authorization"] == f"Basic {token}")


def guarded(server: Server) -> None:
    """All that the server gives wants the password."""

    def reply(handler: Handler) -> None:
        if not with_password(handler):
            return handler.answer(401, b"")
        if handler.path == "/moved.mp4":
            return handler.answer(302, b"", {"Location": "/in.mp4"})
        if handler.path == "/gone.mp4":
            return handler.answer(404, b"")
        handler.give(server.files[handler.path], handler.headers["Range"])

    server.files["/in.mp4"] = BODY
    server.files["/page.html"] = b"<title>A page</title><video src='/in.mp4'></video>"
    for path in ("/in.mp4", "/page.html", "/moved.mp4", "/gone.mp4"):
        server.replies[path] = reply


@pytest.mark.parametrize("path", ["/in.mp4", "/moved.mp4", "/page.html"])
def test_a_password_in_the_url_opens(tmp_path: Path, server: Server, path: str) -> None:
    guarded(server)
    assert failed(tmp_path, server.url(path), "without").kind is FailKind.PRIVATE
    url = server.url(path).replace("http://", f"http://{USER_INFO}@")
    outcome = kept(tmp_path, url)
    assert outcome.evidence["sha256"] == SHA256
    for secret in (USER, PASSWORD, "me%40", "s%3A"):
        assert secret not in str(outcome)


@pytest.mark.parametrize("path", ["/gone.mp4", "/none.html", "/404.html", "/truncated.mp4"])
def test_a_password_stands_in_no_message(tmp_path: Path, server: Server, path: str) -> None:
    guarded(server)
    url = server.url(path).replace("http://", f"http://{USER_INFO}@")
    outcome, _ = fetch(tmp_path, f"{url}?token=t0ken", retries=0)
    assert isinstance(outcome, Fail)
    for secret in (USER, PASSWORD, "me%40", "s%3A", "t0ken"):
        assert secret not in str(outcome)


@pytest.mark.parametrize("name", ["x.mp4", "x.html"])
def test_a_password_stays_with_its_host(tmp_path: Path, server: Server, name: str) -> None:
    with running() as other:
        heard = []

        def reply(handler: Handler) -> None:
            heard.append(handler.headers["Authorization"])
            handler.answer(200, BODY)

        other.replies["/ok.mp4"] = reply
        target = other.url("/ok.mp4")
        server.replies["/x.mp4"] = lambda handler: handler.answer(302, b"", {"Location": target})
        server.files["/x.html"] = f"<title>A</title><video src='{target}'></video>".encode()
        url = server.url(f"/{name}").replace("http://", f"http://{USER_INFO}@")
        assert kept(tmp_path, url).evidence["sha256"] == SHA256
    assert heard
    assert set(heard) == {None}


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x.mp4", "file:///etc/passwd", "data:,x"])
@pytest.mark.parametrize("name", ["x.mp4", "x.html"])
def test_redirects_stay_on_the_web(tmp_path: Path, server: Server, name: str, target: str) -> None:
    server.replies[f"/{name}"] = lambda handler: handler.answer(302, b"", {"Location": target})
    fail = failed(tmp_path, server.url(f"/{name}"))
    assert (fail.kind, fail.attempts) == (FailKind.UNSAFE_REDIRECT, 1)


@pytest.mark.parametrize("name", ["x.mp4", "x.html", "embeds.html"])
def test_the_internet_does_not_lead_into_a_private_network(
    tmp_path: Path, server: Server, public: Server, name: str
) -> None:
    target = server.url("/ok.mp4")
    for path in ("/x.mp4", "/x.html"):
        public.replies[path] = lambda handler: handler.answer(302, b"", {"Location": target})
    public.files["/embeds.html"] = f"<title>A</title><video src='{target}'></video>".encode()
    fail = failed(tmp_path, public.url(f"/{name}"), timeout_s=5)
    assert fail.kind is FailKind.UNSAFE_REDIRECT
    assert "127.0.0.1, an address that is not public" in fail.message
    assert server.requests == []


@pytest.mark.parametrize("name", ["x.mp4", "x.html"])
def test_a_private_network_may_lead_anywhere(
    tmp_path: Path, server: Server, public: Server, name: str
) -> None:
    target = public.url("/ok.mp4")
    server.replies[f"/{name}"] = lambda handler: handler.answer(302, b"", {"Location": target})
    assert kept(tmp_path, server.url(f"/{name}")).evidence["sha256"] == SHA256


def test_a_proxy_is_not_asked_for_a_private_address(
    server: Server, public: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks up names itself; an address that stands in the URL is seen."""

    def proxy(handler: Handler) -> None:
        handler.answer(302, b"", {"Location": "http://10.0.0.1/ok.mp4"})

    url = "http://media.example.org/x.mp4"
    server.replies[url] = proxy
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(DownloadError) as caught:
        WebAccess(url, timeout_s=5).get({})
    assert caught.value.kind is FailKind.UNSAFE_REDIRECT
    assert [path for path, _ in server.requests] == [url]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert web_access.is_public(address) == public


def test_a_slow_host_does_not_hold_a_worker(tmp_path: Path, server: Server) -> None:
    started_s = time.monotonic()
    assert failed(tmp_path, server.url("/slow.mp4"), retries=0).kind is FailKind.UNREACHABLE
    assert time.monotonic() - started_s < 2
