"""The stage listen, on files whose sound is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avipipe.annotators.registry import create, profile
from avipipe.manifests.evidence import ListenEvidence
from avipipe.manifests.records import Evidence, Keep, SourceLine, Span
from avipipe.media.probe import probe
from avipipe.stages.base import Item
from avipipe.stages.listen import Listen, ListenConfig
from avipipe.synth import SynthClip, render, write_clip
from tests.sounds import overlap_s


def stage(**config: Any) -> Listen:
    backends = profile("embedded")
    listen = Listen(
        ListenConfig(**config),
        vad=create("vad", backends["vad"]),
        diarizer=create("diarize", backends["diarize"]),
        separator=create("separate", backends["separate"]),
        tagger=create("tag", backends["tag"]),
    )
    listen.setup()
    return listen


def heard(path: Path, span: Span) -> Evidence:
    evidence = {"fetch": {"path": path.name}, "probe": probe(path).to_json()}
    line = SourceLine(0, str(path), None, "list.txt:1")
    item = Item("clip", line, span, evidence, {"fetch": path.parent})
    outcome = stage().run(item, path.parent)
    assert isinstance(outcome, Keep)
    assert outcome.files == ()
    return outcome.evidence


def written(kind: str, folder: Path, *, duration_s: float = 4.0) -> tuple[Path, SynthClip]:
    clip = render(kind, 3, duration_s=duration_s, height_px=64)
    path = folder / f"{kind}.mp4"
    write_clip(clip, path)
    return path, clip


def test_strikes_are_heard_when_they_happen(tmp_path: Path) -> None:
    path, clip = written("strike", tmp_path)
    evidence = heard(path, Span(0.0, 4.0))
    assert evidence["onsets_s"] == pytest.approx(clip.truth.events_s, abs=0.03)
    assert (evidence["speech_ratio"], evidence["num_speakers"]) == (0.0, 0)
    assert evidence["tags"]["impact"] > 0.7
    assert evidence["tags"]["music"] < 0.3
    assert evidence["stem_dbfs"]["percussive"] > evidence["stem_dbfs"]["background"]


def test_a_span_is_heard_on_its_own_clock(tmp_path: Path) -> None:
    path, clip = written("strike", tmp_path)
    evidence = heard(path, Span(1.5, 3.5))
    inside = [time_s - 1.5 for time_s in clip.truth.events_s if 1.6 < time_s < 3.4]
    assert evidence["duration_s"] == 2.0
    assert set(inside) <= {
        time_s for time_s in inside if np.abs(np.array(evidence["onsets_s"]) - time_s).min() < 0.03
    }


def test_a_speaker_is_heard(tmp_path: Path) -> None:
    path, clip = written("speaker", tmp_path)
    evidence = ListenEvidence(**heard(path, Span(0.0, 4.0)))
    phrases = [(voice.start_s, voice.end_s) for voice in clip.truth.voices]
    spoken_s = sum(end_s - start_s for start_s, end_s in phrases)
    turns = [turn for turn in evidence.speech if turn.label == "speech"]
    assert overlap_s(turns, phrases) > 0.6 * spoken_s
    assert evidence.num_speakers == 1
    assert evidence.speech_ratio > 0.4
    assert [turn.label for turn in evidence.speakers] == ["speaker0"] * len(evidence.speakers)


@pytest.mark.parametrize(
    ("kind", "measure", "least"),
    [
        ("music_over", lambda evidence: evidence["tags"]["music"], 0.5),
        ("music_over_speaker", lambda evidence: evidence["tags"]["music"], 0.5),
        ("overlap", lambda evidence: evidence["overlap_ratio"], 0.1),
        ("dialogue", lambda evidence: evidence["num_speakers"], 2),
    ],
)
def test_what_a_build_drops_is_heard(tmp_path: Path, kind: str, measure: Any, least: float) -> None:
    path, _ = written(kind, tmp_path)
    assert measure(heard(path, Span(0.0, 4.0))) >= least


def test_silence_is_silence(tmp_path: Path) -> None:
    path, clip = written("silent", tmp_path)
    evidence = heard(path, Span(0.0, clip.truth.duration_s))
    assert evidence["rms_dbfs"] < -60
    assert (evidence["silence_ratio"], evidence["onsets_s"], evidence["tags"]) == (1.0, [], {})


def test_evidence_is_small_and_always_the_same(tmp_path: Path) -> None:
    path, _ = written("speaker", tmp_path)
    first, second = (json.dumps(heard(path, Span(0.0, 4.0))) for _ in range(2))
    assert first == second
    assert len(first) < 4096


def test_levels_are_those_of_the_samples() -> None:
    time_s = np.arange(48_000) / 48_000
    tone_N = 0.5 * np.sin(2 * np.pi * 440 * time_s)
    half_N = np.where(time_s < 0.5, tone_N, 0.0)
    evidence = stage().listen(np.stack([half_N, half_N]).astype(np.float32))
    assert evidence.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert evidence.rms_dbfs == pytest.approx(-12.04, abs=0.01)
    assert evidence.silence_ratio == pytest.approx(0.5)
    assert evidence.clipped_ratio == 0.0
    assert evidence.noise_floor_dbfs == -120.0
    assert len(evidence.waveform) == 200
    assert (max(evidence.waveform[:100]), max(evidence.waveform[100:])) == (0.5, 0.0)


def test_the_key_depends_on_config_and_backends() -> None:
    base = stage()
    keys = {"fetch": "a", "probe": "b"}
    assert base.key("clip", keys) == stage().key("clip", keys)
    assert base.key("clip", keys) != stage(min_onset=0.5).key("clip", keys)
    newer = stage()
    newer._vad.version += 1
    assert base.key("clip", keys) != newer.key("clip", keys)
