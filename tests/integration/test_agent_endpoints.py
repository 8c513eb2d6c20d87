"""Tools of the audio agent behind HTTP: what is sent, and what is made of the answers."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pytest

from avipipe.audio_agent import Budget, Sound, Task, edit_audio, toolbox
from avipipe.audio_agent.backends.chat import ChatCaptioner, ChatJudge, ChatPlanner
from avipipe.audio_agent.backends.elevenlabs import ElevenLabsSounds, ElevenLabsSpeech
from avipipe.audio_agent.backends.endpoint import Endpoint
from avipipe.audio_agent.files import decode_bytes, flac_bytes
from avipipe.audio_agent.schema import (
    Aspects,
    AudioSpan,
    Checks,
    EditPlan,
    Generation,
    Issue,
    Removal,
    Verdict,
)
from avipipe.audio_agent.tools import Mixed
from avipipe.errors import AnnotatorError, AvipipeError, ConfigError, FailKind, MediaError
from avipipe.services.http import RetryPolicy
from avipipe.services.reply import BrokenReplyError
from tests.integration.chat_server import KEY, Answer, ChatServer, chat_server, says

RATE_HZ = 16_000
HASTE = RetryPolicy(timeout_s=0.3, max_attempts=2, backoff_s=0.01)
URL, MODEL, CHAT_KEY = (f"AVIPIPE_AGENT_{name}" for name in ("URL", "MODEL", "API_KEY"))

CAPTION = {
    "text": "A dog barks beside a road.",
    "events": [
        {"label": "dog barking", "kind": "sfx", "span": {"start_s": 0.5, "end_s": 1.0}},
        {"label": "traffic", "kind": "sfx", "span": {"start_s": 0.0, "end_s": 9.0}},
    ],
    "transcript": None,
    "language": None,
}
HORN = {"kind": "sfx", "prompt": "a car horn", "voice": None, "same_voice": False}
PLAN = {
    "c_sep": [{"query": "dog barking", "kind": "sfx", "spans": [{"start_s": 0.5, "end_s": 1.0}]}],
    "c_gen": [HORN],
    "mode": "remove",
    "rationale": "the horn takes the place of the dog",
}
VERDICT = {
    "aspects": {"fidelity": 0.8, "background": 0.2, "consistency": None, "naturalness": None},
    "issues": [{"target": "sep", "code": "leak", "message": "the dog is still heard"}],
    "revise": {"c_sep": [{"query": "dog", "kind": "sfx"}], "c_gen": None},
}


def tone(duration_s: float = 2.0, pitch_hz: float = 440.0) -> Sound:
    time_N = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    wav_N = (0.3 * np.sin(2 * np.pi * pitch_hz * time_N)).astype(np.float32)
    return Sound(wav_N[None], RATE_HZ)


def task(num_frames: int = 2) -> Task:
    frames = [np.full((48, 64, 3), (200, 100, 50), np.uint8)] * num_frames
    return Task(tone(), "replace the dog with a car horn", "a dog at a road", frames)


def mixed() -> Mixed:
    silence = tone().like(0 * tone().wav_CN)
    return Mixed(kept=tone(), removed=silence, generated=silence, mix=tone(pitch_hz=880.0))


def plan() -> EditPlan:
    return EditPlan(
        c_sep=(Removal(query="dog barking", kind="sfx", strength=4.0),),
        c_gen=(Generation(kind="sfx", prompt="a car horn"),),
    )


def scripted(*answers: Answer) -> Callable[[Mapping[str, Any], int], Answer]:
    """One answer after the other; the last for ever."""
    return lambda body, number: answers[min(number, len(answers) - 1)]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[ChatServer], None]:
    def use(server: ChatServer) -> None:
        for name, value in ((URL, server.url), (MODEL, "tiny-omni"), (CHAT_KEY, KEY)):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("ELEVENLABS_BASE_URL", server.url)
        monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)

    return use


Use = Callable[[ChatServer], None]


def parts(body: Mapping[str, Any], kind: str) -> list[Any]:
    content = body["messages"][0]["content"]
    return [part[kind] for part in content if part["type"] == kind]


def heard(body: Mapping[str, Any]) -> list[Sound]:
    sounds = parts(body, "input_audio")
    assert all(sound["format"] == "wav" for sound in sounds)
    return [decode_bytes(base64.b64decode(sound["data"])) for sound in sounds]


def test_a_captioner_is_played_the_sound(use: Use) -> None:
    with chat_server(scripted(says(json.dumps(CAPTION)))) as server:
        use(server)
        captioner = ChatCaptioner(Endpoint(HASTE))
        captioner.setup()
        caption = captioner.caption(task())
    assert caption.text == "A dog barks beside a road."
    assert caption.confidence is None
    assert [event.span.end_s for event in caption.events] == [1.0, 2.0], "cut at the end"
    (body,) = server.requests
    assert (body["model"], body["temperature"]) == ("tiny-omni", 0)
    assert "events" in body["response_format"]["json_schema"]["schema"]["properties"]
    (sound,) = heard(body)
    assert sound.sample_rate_hz == RATE_HZ
    assert np.abs(sound.wav_CN - tone().wav_CN).max() < 1e-4
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_what_a_model_says_is_safe_to_store(use: Use) -> None:
    span = {"start_s": 0.5, "end_s": 1.0}
    event = {"label": "dog \ud800\x00", "kind": "sfx", "span": span}
    said = {**CAPTION, "text": "A dog\x1b[2J\nbarks.", "events": [event]}
    with chat_server(scripted(says(json.dumps(said)))) as server:
        use(server)
        caption = ChatCaptioner(Endpoint(HASTE)).caption(task())
    assert caption.text == r"A dog\x1b[2J barks."
    assert caption.events[0].label == r"dog \ud800\x00"


def test_a_planner_is_shown_the_frames_and_told_the_rest(use: Use) -> None:
    reply = f"I think so.\n```json\n{json.dumps(PLAN)}\n```"
    with chat_server(scripted(says(reply))) as server:
        use(server)
        planner = ChatPlanner(Endpoint(HASTE))
        planner.setup()
        verdict = Verdict(issues=(Issue(target="sep", code="leak", message="the dog is there"),))
        made = planner.plan(task(), None, previous=plan(), verdict=verdict)
    assert made.c_sep == (
        Removal(query="dog barking", kind="sfx", spans=(AudioSpan(start_s=0.5, end_s=1.0),)),
    )
    assert made.c_gen == (Generation(kind="sfx", prompt="a car horn"),)
    (body,) = server.requests
    pictures = parts(body, "image_url")
    assert len(pictures) == 2
    jpeg = base64.b64decode(pictures[0]["url"].removeprefix("data:image/jpeg;base64,"))
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    assert picture.shape == (48, 64, 3)
    (text,) = parts(body, "text")
    for told in ("replace the dog with a car horn", "a dog at a road", "the dog is there"):
        assert told in text


def test_a_judge_is_played_both(use: Use) -> None:
    with chat_server(scripted(says(json.dumps(VERDICT)))) as server:
        use(server)
        judge = ChatJudge(Endpoint(HASTE))
        judge.setup()
        verdict = judge.judge(task(), plan(), mixed(), Checks(leak_db=-3.25))
    assert verdict.aspects == Aspects(fidelity=0.8, background=0.2)
    assert verdict.q == pytest.approx(0.4)
    assert verdict.issues[0].code == "leak"
    assert verdict.revise is not None
    assert verdict.revise.c_sep == (Removal(query="dog", kind="sfx"),)
    (body,) = server.requests
    original, mix = heard(body)
    assert np.abs(original.wav_CN - tone().wav_CN).max() < 1e-4
    assert np.abs(mix.wav_CN - tone(pitch_hz=880.0).wav_CN).max() < 1e-4
    assert "-3.25" in parts(body, "text")[0]


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("{", "broken"),
        ("I would rather not.", "no JSON object"),
        (json.dumps(PLAN | {"c_sep": [], "c_gen": []}), "something to separate or to generate"),
        (json.dumps(PLAN | {"mode": "mute"}), "`mode`"),
        (json.dumps(PLAN | {"volume": 11}), "`volume`"),
        (
            json.dumps(PLAN | {"c_gen": [HORN | {"spans": [{"start_s": 7, "end_s": 9}]}]}),
            "starts at 7 s of 2.00 s",
        ),
    ],
)
def test_a_broken_reply_is_asked_for_once_more(use: Use, broken: str, complaint: str) -> None:
    with chat_server(scripted(says(broken), says(json.dumps(PLAN)))) as server:
        use(server)
        planner = ChatPlanner(Endpoint(HASTE))
        assert planner.plan(task(), None).c_gen[0].prompt == "a car horn"
        said = server.requests[1]["messages"][-1]["content"][0]["text"]
        assert complaint in said
        server.respond = scripted(says(broken))
        with pytest.raises(BrokenReplyError, match="no usable plan in two replies"):
            planner.plan(task(), None)
    assert len(server.requests) == 4


def test_a_slow_endpoint_is_a_timeout(use: Use) -> None:
    def dawdle(body: Mapping[str, Any], number: int) -> Answer:
        time.sleep(0.8)
        return says(json.dumps(PLAN))

    with chat_server(dawdle) as server:
        use(server)
        with pytest.raises(AnnotatorError) as caught:
            ChatPlanner(Endpoint(HASTE)).plan(task(), None)
    assert caught.value.kind is FailKind.TIMEOUT
    assert len(server.requests) == 1


def make_plan() -> None:
    ChatPlanner(Endpoint(HASTE)).plan(task(), None)


def make_speech() -> None:
    speech = ElevenLabsSpeech(HASTE)
    speech.setup()
    speech.speak("hello", voice=None, reference=None, duration_s=1.0, seed=0)


def make_sound() -> None:
    sounds = ElevenLabsSounds(HASTE)
    sounds.setup()
    sounds.generate("a knock", duration_s=1.0, seed=0)


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (make_plan, f"set {CHAT_KEY}"),
        (make_speech, "set ELEVENLABS_API_KEY"),
        (make_sound, "set ELEVENLABS_API_KEY"),
    ],
)
def test_a_wrong_key_is_told_and_not_repeated(
    use: Use, make: Callable[[], None], remedy: str
) -> None:
    with chat_server(scripted(Answer(401, f"no such key: {KEY}".encode()))) as server:
        use(server)
        with pytest.raises(ConfigError, match=remedy) as caught:
            make()
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("make", [make_plan, make_speech, make_sound])
def test_a_busy_service_is_asked_again(use: Use, make: Callable[[], None]) -> None:
    with chat_server(scripted(Answer(503))) as server:
        use(server)
        with pytest.raises(AnnotatorError) as caught:
            make()
    assert caught.value.kind is FailKind.UNREACHABLE
    assert len(server.requests) == HASTE.max_attempts


@pytest.mark.parametrize(
    ("role", "name", "missing"),
    [
        ("captioner", "endpoint", f"{URL} and {MODEL}"),
        ("planner", "endpoint", f"{URL} and {MODEL}"),
        ("judge", "endpoint", f"{URL} and {MODEL}"),
        ("speech", "elevenlabs", "ELEVENLABS_API_KEY"),
        ("sounds", "elevenlabs", "ELEVENLABS_API_KEY"),
    ],
)
def test_what_is_not_set_is_named_before_anything_runs(
    role: str, name: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (URL, MODEL, CHAT_KEY, "ELEVENLABS_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=missing):
        edit_audio(task(), toolbox(**{role: name}))


VOICES = {
    "voices": [
        {"voice_id": "anna", "labels": {"gender": "female", "age": "young"}},
        {"voice_id": "berta", "labels": {"gender": "female", "age": "old"}},
        {"voice_id": "carl", "labels": {"gender": "male", "age": "old"}},
        {"voice_id": "plain", "labels": None},
    ]
}


def eleven(body: Mapping[str, Any], number: int) -> Answer:
    """The list of voices to a GET, a tone to a POST."""
    return Answer(body=flac_bytes(tone(0.7)) if body else json.dumps(VOICES).encode())


@pytest.mark.parametrize(
    ("voice", "chosen"),
    [("an old woman", "berta"), ("old man", "carl"), ("girl", "anna"), (None, "anna")],
)
def test_words_are_spoken_in_a_fitting_voice(use: Use, voice: str | None, chosen: str) -> None:
    with chat_server(eleven) as server:
        use(server)
        speech = ElevenLabsSpeech(HASTE)
        speech.setup()
        sound = speech.speak(
            "Hello there.", voice=voice, reference=tone(), duration_s=0.5, seed=4 * 2**32
        )
    assert sound.sample_rate_hz == RATE_HZ
    assert np.abs(sound.wav_CN - tone(0.7).wav_CN).max() < 1e-4
    path, _, query = server.paths[1].partition("?")
    assert path == f"/v1/text-to-speech/{chosen}"
    assert query == "output_format=mp3_44100_128"
    body = server.requests[1]
    assert (body["text"], body["seed"]) == ("Hello there.", 0)
    assert body["voice_settings"] == {"speed": 1.2}, "two words in half a second are hurried"
    headers = {name.lower(): value for name, value in server.headers[1].items()}
    assert headers["xi-api-key"] == KEY


@pytest.mark.parametrize(("wanted_s", "asked_s"), [(0.1, 0.5), (3.21, 3.2), (99.0, 30.0)])
def test_a_sound_is_asked_for_by_length(use: Use, wanted_s: float, asked_s: float) -> None:
    with chat_server(eleven) as server:
        use(server)
        sounds = ElevenLabsSounds(HASTE)
        sounds.setup()
        sound = sounds.generate("a knock on wood", duration_s=wanted_s, seed=0)
    assert sound.duration_s == pytest.approx(0.7)
    assert server.paths[0].startswith("/v1/sound-generation?")
    assert server.requests[0]["text"] == "a knock on wood"
    assert server.requests[0]["duration_seconds"] == asked_s


@pytest.mark.parametrize(
    ("make", "answer", "kind"),
    [
        (make_sound, b"<html>Welcome</html>", MediaError),
        (make_sound, b"", MediaError),
        (make_speech, b"<html>Welcome</html>", AnnotatorError),
        (make_speech, b"[]", AnnotatorError),
        (make_speech, b'{"voices": []}', AnnotatorError),
        (make_speech, b'{"voices": [{"name": "Anna"}]}', AnnotatorError),
    ],
)
def test_an_answer_that_is_none_fails_the_call(
    use: Use, make: Callable[[], None], answer: bytes, kind: type[AvipipeError]
) -> None:
    with chat_server(scripted(Answer(body=answer))) as server:
        use(server)
        with pytest.raises(kind):
            make()


def test_a_whole_edit_by_services(use: Use) -> None:
    good = VERDICT | {"aspects": dict.fromkeys(Aspects.model_fields, 1.0), "revise": None}

    def respond(body: Mapping[str, Any], number: int) -> Answer:
        if "messages" not in body:
            return eleven(body, number)
        wanted = body["response_format"]["json_schema"]["schema"]["properties"]
        if "aspects" in wanted:
            return says(json.dumps(good))
        return says(json.dumps(PLAN if "c_sep" in wanted else CAPTION))

    tools = dict.fromkeys(("captioner", "planner", "judge"), "endpoint")
    with chat_server(respond) as server:
        use(server)
        result = edit_audio(
            task(), toolbox(**tools, sounds="elevenlabs"), Budget(iterations=1, seconds=60)
        )
    calls = [*result.trace.opening, *result.trace.iterations[0].calls]
    asked = {call.role: call.tool for call in calls if call.outcome == "ok"}
    assert (asked["caption"], asked["plan"], asked["judge"]) == ("endpoint",) * 3
    assert asked["sound"] == "elevenlabs"
    assert result.audio.wav_CN.shape == tone().wav_CN.shape
    assert KEY not in result.trace.model_dump_json()
