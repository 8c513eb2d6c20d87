"""Captions by an endpoint: good ones, and every way in which one goes wrong."""

import base64
import json
import pickle
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from avipipe.annotators.base import SceneCaption
from avipipe.annotators.full.endpoint import KEY_ENV, MODEL_ENV, URL_ENV, EndpointCaptioner
from avipipe.annotators.registry import create
from avipipe.errors import AnnotatorError, ConfigError, FailKind
from avipipe.pipeline.config import load_config
from avipipe.pipeline.graph import Graph
from avipipe.pipeline.needs import require_weights
from avipipe.services import http
from avipipe.services.http import RetryPolicy
from tests.integration.builds import assert_adds_up, avipipe, build, status
from tests.integration.chat_server import GOOD, KEY, Answer, ChatServer, chat_server, says
from tests.integration.faulty import HASTY_TIMEOUT_S

EVIDENCE: dict[str, Any] = {
    "listen": {"tags": {"impact": 0.9}, "speech": []},
    "look": {"faces": None},
    "cut": {"duration_s": 2.5},
    "mask": {"boxes": [[0.25, 0.25, 0.75, 0.75]] * 10, "box_step_frames": 6},
}
FRAMES = np.full((8, 48, 64, 3), (200, 100, 50), np.uint8)
CAPTION = SceneCaption("A ball hits the floor.", "ball", 0.9)
BUSY = Answer(503, b"busy")


def use(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_ENV, server.url)
    monkeypatch.setenv(MODEL_ENV, "tiny-vl")
    monkeypatch.setenv(KEY_ENV, KEY)


def captioned(**options: float) -> SceneCaption:
    given: dict[str, Any] = {"backoff_s": 0.01, "max_attempts": 3, **options}
    backend = EndpointCaptioner(RetryPolicy(**given))
    backend.setup()
    return backend.caption(FRAMES, evidence=EVIDENCE)


def scripted(*answers: Answer) -> Callable[[Mapping[str, Any], int], Answer]:
    """One answer after the other; the last for ever."""
    return lambda body, number: answers[min(number, len(answers) - 1)]


def test_a_good_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(scripted(says(GOOD))) as server:
        use(server, monkeypatch)
        assert captioned() == CAPTION
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    (body,) = server.requests
    assert (body["model"], body["temperature"]) == ("tiny-vl", 0)
    assert body["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
    content = body["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert len(urls) == 8
    header, data = urls[0].split(",")
    assert header == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    assert picture.shape == (48, 64, 3)
    assert np.abs(picture.astype(int) - FRAMES[0]).max() < 8, "red stays red"


def test_a_bad_reply_may_be_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(scripted(says("I see a ball."), says(GOOD))) as server:
        use(server, monkeypatch)
        assert captioned() == CAPTION
    assert [message["role"] for message in server.requests[1]["messages"]] == [
        "user",
        "assistant",
        "user",
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (says('{"caption": "A ball'), "JSON object is broken"),
        (says(json.dumps({"caption": "", "label": "ball"})), "`caption`: must not be empty"),
        (says(json.dumps({"caption": "A ball hits it."})), "`label`: Field required"),
        (says(""), "the reply is empty"),
        (says(None, refusal="I cannot look at this."), "no JSON object"),
        (says([{"type": "text"}]), "not a chat completion: content of type list"),
        (Answer(body=b"<html>Welcome</html>"), "not a chat completion"),
        (Answer(body=b'{"choices": []}'), "not a chat completion"),
        (Answer(body=b"[]"), "not a chat completion"),
        (Answer(413, b"too large"), "HTTP 413"),
        (Answer(body=b'{"choices": ' + b"[" * 100_000), "not a chat completion"),
    ],
)
def test_an_unusable_answer_fails_the_clip(
    answer: Answer, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(scripted(answer)) as server:
        use(server, monkeypatch)
        with pytest.raises(AnnotatorError) as caught:
            captioned()
    assert caught.value.kind is FailKind.ANNOTATOR_FAILED
    assert message in str(caught.value)
    assert len(server.requests) <= 2


def test_an_endless_reply_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_REPLY_BYTES", 50)
    with chat_server(scripted(says(GOOD))) as server:
        use(server, monkeypatch)
        with pytest.raises(AnnotatorError, match="at most 50 bytes") as caught:
            captioned()
    assert caught.value.kind is FailKind.TOO_LARGE


@pytest.mark.parametrize("busy", [BUSY, Answer(429), Answer(429, headers={"Retry-After": "0"})])
def test_a_busy_endpoint_is_waited_for(busy: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(scripted(busy, busy, says(GOOD))) as server:
        use(server, monkeypatch)
        assert captioned() == CAPTION
    assert len(server.requests) == 3


def test_it_waits_as_long_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(scripted(Answer(429, headers={"Retry-After": "1"}), says(GOOD))) as server:
        use(server, monkeypatch)
        started_s = time.monotonic()
        assert captioned() == CAPTION
        assert time.monotonic() - started_s >= 1.0


@pytest.mark.parametrize(
    ("answer", "kind", "num_requests"),
    [
        (Answer(500, b"broken"), FailKind.UNREACHABLE, 3),
        (Answer(429), FailKind.RATE_LIMITED, 3),
        (Answer(429, headers={"Retry-After": "3600"}), FailKind.RATE_LIMITED, 1),
    ],
)
def test_patience_ends(
    answer: Answer, kind: FailKind, num_requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(scripted(answer)) as server:
        use(server, monkeypatch)
        with pytest.raises(AnnotatorError, match=f"HTTP {answer.status}") as caught:
            captioned()
    assert caught.value.kind is kind
    assert "avipipe retry" in str(caught.value)
    assert len(server.requests) == num_requests


def test_a_slow_endpoint_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    def dawdle(body: Mapping[str, Any], number: int) -> Answer:
        time.sleep(0.6)
        return says(GOOD)

    with chat_server(dawdle) as server:
        use(server, monkeypatch)
        with pytest.raises(AnnotatorError, match=r"sent nothing for 0\.2 s") as caught:
            captioned(timeout_s=0.2)
    assert caught.value.kind is FailKind.TIMEOUT
    assert len(server.requests) == 1, "a slow server is not given more to do"


def test_nobody_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setenv(URL_ENV, f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv(MODEL_ENV, "tiny-vl")
        with pytest.raises(AnnotatorError, match="ConnectionRefusedError") as caught:
            captioned()
    assert caught.value.kind is FailKind.UNREACHABLE


def test_a_connection_that_breaks_off_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_short = Answer(body=b'{"choi', headers={"Content-Length": "1000", "Connection": "close"})
    with chat_server(scripted(cut_short)) as server:
        use(server, monkeypatch)
        with pytest.raises(AnnotatorError) as caught:
            captioned()
    assert caught.value.kind is FailKind.UNREACHABLE


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (Answer(401, f"Incorrect API key: {KEY}".encode()), f"set {KEY_ENV}"),
        (Answer(403, b"forbidden"), f"set {KEY_ENV}"),
        (Answer(404, b"The model `tiny-vl` does not exist."), "`tiny-vl` does not exist"),
        (Answer(302, headers={"Location": "http://127.0.0.1:9/v1"}), "redirects to http://127"),
    ],
)
def test_what_every_clip_would_get_stops_the_run(
    answer: Answer, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(scripted(answer)) as server:
        use(server, monkeypatch)
        with pytest.raises(ConfigError, match=f"HTTP {answer.status}") as caught:
            captioned()
    assert remedy in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, f"{URL_ENV} and {MODEL_ENV}"),
        ({URL_ENV: "http://localhost:8000", MODEL_ENV: " "}, f"needs {MODEL_ENV} in"),
        ({URL_ENV: "localhost:8000", MODEL_ENV: "m"}, "expected http://host:port"),
        ({URL_ENV: "http://host:port", MODEL_ENV: "m"}, "expected http://host:port"),
        ({URL_ENV: f"http://me:{KEY}@host", MODEL_ENV: "m"}, "without a password"),
        ({URL_ENV: "http://h", MODEL_ENV: "m", KEY_ENV: f"{KEY}\nX: y"}, "printable ASCII"),
    ],
)
def test_a_wrong_environment_is_named_before_anything_runs(
    settings: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (URL_ENV, MODEL_ENV, KEY_ENV):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for attempt in (
        lambda: create("caption", "endpoint").setup(),
        lambda: require_weights(
            Graph(load_config(None, ["annotators.caption=endpoint"])).annotated
        ),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            attempt()
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_the_address_may_end_early(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(scripted(says(GOOD))) as server:
        use(server, monkeypatch)
        monkeypatch.setenv(URL_ENV, server.url + suffix)
        captioned()
    assert server.paths == ["/v1/chat/completions"]


def test_the_model_makes_the_key_and_the_secret_does_not_travel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def key() -> str:
        graph = Graph(load_config(None, ["annotators.caption=endpoint"]))
        (stage,) = [stage for stage in graph.stages if stage.name == "caption"]
        assert KEY not in str(stage.settings())
        return stage.key("clip", dict.fromkeys(stage.needs, ""))

    monkeypatch.setenv(URL_ENV, "http://one:8000")
    monkeypatch.setenv(MODEL_ENV, "tiny-vl")
    monkeypatch.setenv(KEY_ENV, KEY)
    first = key()
    monkeypatch.setenv(URL_ENV, "http://two:8000")
    assert key() == first, "a server that moves costs nothing"
    monkeypatch.setenv(MODEL_ENV, "large-vl")
    assert key() != first
    backend = create("caption", "endpoint")
    backend.setup()
    assert KEY.encode() not in pickle.dumps(backend)


HASTY = "tests.integration.faulty:HastyCaptioner"
OPTIONS = ("--set", f"annotators.caption={HASTY}", "--executor", "inline")


def asleep() -> Answer:
    time.sleep(2 * HASTY_TIMEOUT_S)
    return says(GOOD)


FAILURES: Mapping[str, tuple[Callable[[], Answer], str]] = {
    "broken": (lambda: says('{"caption": "A ball'), "fail:annotator_failed"),
    "empty": (lambda: says(json.dumps({"caption": "", "label": "ball"})), "fail:annotator_failed"),
    "asleep": (asleep, "fail:timeout"),
}


@pytest.mark.slow
def test_a_wrong_key_stops_the_build_and_a_bad_answer_its_clip_alone(
    small_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky: list[str] = []

    def fails(answer: Callable[[], Answer]) -> Callable[[Mapping[str, Any], int], Answer]:
        def respond(body: Mapping[str, Any], number: int) -> Answer:
            clip = body["messages"][0]["content"][1]["image_url"]["url"]
            if not unlucky:
                unlucky.append(clip)
            return answer() if clip == unlucky[0] else says(GOOD)

        return respond

    kept = [
        path
        for kind in ("bounce", "strike")
        for path in (small_clips / "clips").glob(f"{kind}-*.mp4")
    ]
    listing, out = tmp_path / "list.txt", tmp_path / "out"
    listing.write_text("".join(f"{path}\n" for path in kept))
    with chat_server(scripted(Answer(401, b"who are you?"))) as server:
        use(server, monkeypatch)
        done = avipipe("build", "--source", listing, "--out", out, *OPTIONS)
        assert done.code == 2, done.err
        assert f"set {KEY_ENV}" in done.err
        assert "Traceback" not in done.err
        assert len(server.requests) == 1
        assert not any(stage["fail"] for stage in status(out).values())
        for answer, reason in FAILURES.values():
            server.respond = fails(answer)
            if unlucky:
                assert avipipe("retry", "--out", out).code == 0
            build(listing, out, *OPTIONS)
            counts = status(out)
            assert_adds_up(counts)
            caption = counts["caption"]
            assert (caption["in"], caption["keep"], caption["fail"]) == (2, 1, 1)
            assert caption["reasons"] == {reason: 1}
            assert counts["pair"]["keep"] == 1
    stored = [path for path in out.rglob("*") if path.is_file()]
    assert not [path for path in stored if KEY.encode() in path.read_bytes()]
