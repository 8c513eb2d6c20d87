"""`avipipe audio-edit` on mixes whose parts are known, and on real recordings."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from avipipe.annotators.base import Wave
from avipipe.audio_agent import AgentTrace, Sound, Task, edit_audio, toolbox
from avipipe.audio_agent.checks import si_sdr_db
from avipipe.audio_agent.files import read_sound, write_sound
from avipipe.audio_agent.procedural import sound
from avipipe.audio_agent.trace_html import write_trace
from avipipe.cli import cli
from tests.browser import browse, in_browser
from tests.integration.chat_server import KEY, Answer, ChatServer, chat_server, says

RATE_HZ = sound.SAMPLE_RATE_HZ
AUDIO = Path(__file__).parents[3] / "shared" / "audio"
BARK = AUDIO / "esc50_1-100032-A-0.wav"
LENGTH_S = 5.0

needs_recordings = pytest.mark.skipif(
    not AUDIO.is_dir(), reason="needs the shared recordings, which are not part of the repository"
)


def backgrounds() -> dict[str, Wave]:
    rng = np.random.default_rng(0)
    size = sound.num_samples(LENGTH_S)
    return {
        "engine": sound.motor(rng, np.full(size, 0.6)),
        "noise": sound.noise(rng, LENGTH_S, -20.0),
        "rain": sound.water(rng, LENGTH_S),
    }


def events() -> dict[str, Wave]:
    rng = np.random.default_rng(1)
    size = sound.num_samples(0.8)
    return {
        "barking": sound.bark(rng, pitch_hz=450),
        "knock": sound.impact(rng, pitch_hz=220),
        "horn": sound.bowed(rng, np.ones(size), np.full(size, 350.0)),
    }


def scene(background_N: Wave, event_N: Wave, *, start_s: float = 2.0) -> tuple[Wave, Wave]:
    """(the mix, the background alone), both as loud where the event is."""
    background_N = (0.05 * background_N / np.sqrt(np.mean(background_N**2))).astype(np.float32)
    event_N = 0.05 * event_N / np.sqrt(np.mean(event_N**2))
    mixed_N, start = background_N.copy(), sound.num_samples(start_s)
    mixed_N[start : start + event_N.size] += event_N.astype(np.float32)
    return mixed_N, background_N


def kept_by_removing(what: str, mixed_N: Wave, rate_hz: int) -> Wave:
    result = edit_audio(Task(Sound(mixed_N[None], rate_hz), f"remove the {what}"), toolbox())
    assert result.trace.accepted
    kept_N: Wave = result.audio.wav_CN[0]
    return kept_N


@pytest.mark.parametrize("event", ["barking", "knock", "horn"])
@pytest.mark.parametrize("background", ["engine", "noise", "rain"])
def test_the_background_is_kept(background: str, event: str) -> None:
    mixed_N, background_N = scene(backgrounds()[background], events()[event])
    kept_N = kept_by_removing(event, mixed_N, RATE_HZ)
    before_db, after_db = (si_sdr_db(wave_N, background_N) for wave_N in (mixed_N, kept_N))
    assert after_db >= 10
    assert after_db >= before_db + 3


@needs_recordings
def test_a_recorded_bark_is_taken_out_of_rain() -> None:
    bark = read_sound(BARK)
    rate_hz = bark.sample_rate_hz
    event_N = bark.mono()[2 * rate_hz : 3 * rate_hz]
    rain_N = sound.water(np.random.default_rng(0), 6.0)[: 5 * rate_hz]
    mixed_N, rain_N = scene(rain_N, event_N, start_s=1.5)
    kept_N = kept_by_removing("dog barking", mixed_N, rate_hz)
    assert si_sdr_db(kept_N, rain_N) >= 10


@needs_recordings
@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("imagebind_dog.wav", "replace the dog barking with a car horn"),
        ("esc50_1-100032-A-0.wav", "replace the dog with a knock"),
        ("esc50_2-100648-A-43.wav", "replace the horn with a dog bark"),
        ("pyannote_sample.wav", "add rain from 2 to 6 s"),
        ("demucs_test.mp3", "add a knock at 1 s and 2 s"),
    ],
)
def test_real_recordings(name: str, instruction: str) -> None:
    original = read_sound(AUDIO / name)
    result = edit_audio(Task(original, instruction), toolbox())
    assert result.trace.accepted
    assert result.audio.wav_CN.shape == original.wav_CN.shape
    assert result.audio.sample_rate_hz == original.sample_rate_hz
    take = result.takes[result.trace.best or 0]
    edited = np.zeros(original.wav_CN.shape[1], bool)
    for span in (*take.removed_spans, *take.generated_spans):
        start_s, end_s = max(0.0, span.start_s - 0.05), span.end_s + 0.05
        edited[
            round(start_s * original.sample_rate_hz) : round(end_s * original.sample_rate_hz)
        ] = True
    assert 0 < edited.mean() < 1
    changed = np.abs(result.audio.wav_CN - original.wav_CN)
    loudest = np.abs(original.wav_CN).max()
    assert changed[:, ~edited].max() < 0.005 * loudest < changed[:, edited].max()


@needs_recordings
def test_words_are_put_in_place_of_speech() -> None:
    original = read_sound(AUDIO / "silero_test.wav")
    part = original.like(original.wav_CN[:, : 10 * original.sample_rate_hz])
    result = edit_audio(Task(part, 'make him say "good morning"'), toolbox())
    assert result.trace.best is not None
    (new,) = result.trace.iterations[0].plan.c_gen
    assert (new.kind, new.prompt, new.same_voice) == ("speech", "good morning", True)
    assert result.takes[0].generated_spans


def test_the_command_leaves_sound_and_a_page(tmp_path: Path) -> None:
    mixed_N, _ = scene(backgrounds()["engine"], events()["barking"])
    source, out, trace = (tmp_path / name for name in ("in.wav", "out.flac", "trace"))
    stereo = Sound(np.stack([mixed_N, 0.5 * mixed_N]), RATE_HZ)
    write_sound(source, stereo)
    words = ["audio-edit", str(source), "--out", str(out), "--trace", str(trace)]
    done = CliRunner().invoke(cli, [*words, "--instruction", "replace the barking with a knock"])
    assert done.exit_code == 0, done.output
    assert "accepted" in done.output
    assert read_sound(out).wav_CN.shape == stereo.wav_CN.shape
    told = AgentTrace.model_validate_json((trace / "trace.json").read_text())
    assert told.accepted
    html = (trace / "trace.html").read_text()
    players = re.findall(r'<audio [^>]*src="([^"]+)"', html)
    assert len(players) == 2 + 4 * len(told.iterations)
    for player in players:
        assert read_sound(trace / player).wav_CN.shape == stereo.wav_CN.shape
    parts = {
        name: read_sound(trace / "iteration-1" / f"{name}.flac") for name in ("kept", "removed")
    }
    whole_CN = parts["kept"].wav_CN + parts["removed"].wav_CN
    assert np.abs(whole_CN - stereo.wav_CN).max() < 2**-13


@in_browser
def test_the_page_works_from_the_disk(tmp_path: Path) -> None:
    mixed_N, _ = scene(backgrounds()["engine"], events()["barking"])
    task = Task(Sound(mixed_N[None], RATE_HZ), "replace the barking with a knock")
    result = edit_audio(task, toolbox())
    write_trace(tmp_path, task, result)
    asks = """<script>addEventListener("load", () => { document.title = [
        [...document.images].every(image => image.naturalWidth > 0),
        [...document.querySelectorAll("audio")].filter(one => one.duration === 5).length,
    ].join(" ") })</script>"""
    page = browse((tmp_path / "trace.html").read_text() + asks, tmp_path)
    assert f"<title>true {2 + 4 * len(result.trace.iterations)}</title>" in page.dom
    assert "accepted" in page.text
    assert page.console == []
    assert all(url.startswith(("file:", "data:")) for url in page.requests)


CAPTION: dict[str, Any] = {
    "text": "A dog barks.",
    "events": [],
    "transcript": None,
    "language": None,
}
KNOCK = {"kind": "sfx", "prompt": "a knock"}
PLAN = {"c_sep": [{"query": "barking", "kind": "sfx"}], "c_gen": [KNOCK]}
ASPECTS = ("fidelity", "background", "consistency", "naturalness")


def model(body: Mapping[str, Any], number: int) -> Answer:
    """Wants the new sound louder, and is content when it is."""
    wanted = body["response_format"]["json_schema"]["schema"]["properties"]
    if "aspects" not in wanted:
        return says(json.dumps(PLAN if "c_sep" in wanted else CAPTION))
    louder = '"gain_db":3.0' in body["messages"][0]["content"][-1]["text"]
    verdict: dict[str, Any] = {
        "aspects": dict.fromkeys(ASPECTS, 0.9 if louder else 0.1),
        "issues": [],
        "revise": None if louder else {"c_gen": [KNOCK | {"gain_db": 3}]},
    }
    return says(json.dumps(verdict))


def use(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, value in (("URL", server.url), ("MODEL", "tiny"), ("API_KEY", KEY)):
        monkeypatch.setenv(f"AVIPIPE_AGENT_{name}", value)
    return [
        word for role in ("captioner", "planner", "judge") for word in (f"--{role}", "endpoint")
    ]


def test_the_command_by_an_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed_N, _ = scene(backgrounds()["engine"], events()["barking"])
    source, out, trace = (tmp_path / name for name in ("in.wav", "out.wav", "trace"))
    write_sound(source, Sound(mixed_N[None], RATE_HZ))
    words = ["audio-edit", str(source), "--instruction", "make it a knock", "--out", str(out)]
    with chat_server(model) as server:
        roles = use(server, monkeypatch)
        done = CliRunner().invoke(cli, [*words, *roles, "--trace", str(trace)])
    assert done.exit_code == 0, done.output
    assert "Iteration 2 it is, accepted" in done.output
    told = AgentTrace.model_validate_json((trace / "trace.json").read_text())
    assert told.caption is not None
    assert told.caption.text == "A dog barks."
    assert [iteration.plan.c_gen[0].gain_db for iteration in told.iterations] == [0, 3]
    kept = [path for path in trace.rglob("*") if path.is_file()]
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]
    assert KEY not in done.output


def test_an_endpoint_that_refuses_is_stood_in_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_N, _ = scene(backgrounds()["engine"], events()["barking"])
    source, out = tmp_path / "in.wav", tmp_path / "out.wav"
    write_sound(source, Sound(mixed_N[None], RATE_HZ))
    words = ["audio-edit", str(source), "--instruction", "remove the barking", "--out", str(out)]
    with chat_server(lambda body, number: Answer(400, b"no sounds, please")) as server:
        roles = use(server, monkeypatch)
        done = CliRunner().invoke(cli, [*words, *roles, "--json"])
    assert done.exit_code == 0, done.output
    told = AgentTrace.model_validate_json(done.stdout)
    assert told.accepted
    calls = {(call.role, call.tool): call for call in told.opening}
    assert "HTTP 400" in calls["plan", "endpoint"].message
    assert calls["plan", "rules"].outcome == "ok"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--instruction", "make it nicer"], "say it like"),
        (["--instruction", "remove the dog", "--out", "x.mp3"], "expected a name that ends in"),
        (["--instruction", "remove the dog", "--separator", "magic"], "there is no separator"),
    ],
)
def test_bad_words_are_refused(tmp_path: Path, words: list[str], message: str) -> None:
    source = tmp_path / "in.wav"
    write_sound(source, Sound(backgrounds()["noise"][None], RATE_HZ))
    out = [] if "--out" in words else ["--out", str(tmp_path / "out.wav")]
    done = CliRunner().invoke(cli, ["audio-edit", str(source), *words, *out])
    assert done.exit_code != 0
    assert message in f"{done.output} {done.exception}"
    assert not (tmp_path / "out.wav").exists()


def test_the_output_can_be_read_by_machines(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    write_sound(source, Sound(backgrounds()["noise"][None], RATE_HZ))
    words = ["audio-edit", str(source), "--instruction", "add a knock at 1 s", "--json"]
    done = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "out.wav")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["stopped"] == "accepted"
