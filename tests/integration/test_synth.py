"""Synthetic clips against their own truth, in memory and after the codec."""

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from avipipe.audio_agent.procedural.sound import SAMPLE_RATE_HZ
from avipipe.errors import ConfigError, ManifestError
from avipipe.manifests.records import DropReason
from avipipe.manifests.sources import read_sources
from avipipe.media.decode import read_audio
from avipipe.media.probe import probe
from avipipe.synth import DEFAULT_KINDS, KINDS, generate, load_truth, render, write_clip
from avipipe.synth.render import shot_at

HEIGHT_PX = 96
Wave = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small clip of each kind."""
    out = tmp_path_factory.mktemp("synth")
    generate(out, num_clips=len(KINDS), kinds=list(KINDS), duration_s=2.0, height_px=HEIGHT_PX)
    return out


def pictures(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(path) as container:
        yield from container.decode(video=0)


def onset_s(wav_N: Wave, near_s: float) -> float | None:
    """When the sound around a time first rises well above what was there just before."""
    level = np.abs(wav_N).max()
    first = max(0, round((near_s - 0.03) * SAMPLE_RATE_HZ))
    part = np.abs(wav_N[first : first + round(0.08 * SAMPLE_RATE_HZ)])
    before = part[: round(0.015 * SAMPLE_RATE_HZ)].max()
    loud = np.flatnonzero(part > max(2.5 * before, 0.04 * level))
    return (first + int(loud[0])) / SAMPLE_RATE_HZ if loud.size else None


def test_every_kind_gives_a_clip_that_fits_its_truth(every_kind: Path) -> None:
    truths = load_truth(every_kind / "truth.jsonl")
    assert [truth.kind for truth in truths] == list(KINDS)
    for truth in truths:
        info = probe(truth.path)
        width, height = map(int, info.video.shape)
        assert (height, width) == truth.size, truth.kind
        assert sum(1 for _ in pictures(truth.path)) == truth.num_frames, truth.kind
        assert info.duration_s == pytest.approx(truth.duration_s, abs=0.05), truth.kind


def test_only_drops_have_reasons(every_kind: Path) -> None:
    for truth in load_truth(every_kind / "truth.jsonl"):
        assert (truth.verdict == "drop") == bool(truth.reasons)
        assert truth.reasons <= set(DropReason)


@pytest.mark.parametrize("kind", [name for name in KINDS if KINDS[name].verdict == "keep"])
def test_a_kept_clip_shows_its_instance_at_a_sensible_size(every_kind: Path, kind: str) -> None:
    (truth,) = (row for row in load_truth(every_kind / "truth.jsonl") if row.kind == kind)
    areas = truth.masks().mean(axis=(1, 2))
    assert truth.label
    assert 0.04 < areas.min()
    assert areas.max() < 0.35


def test_the_sources_list_names_every_clip(every_kind: Path) -> None:
    lines = read_sources(every_kind / "sources.txt").lines
    files = [str(truth.path) for truth in load_truth(every_kind / "truth.jsonl")]
    assert [line.uri for line in lines] == files


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    def digests(out: Path) -> dict[str, str]:
        kinds = ["speaker", "bounce_vfr", "music_over"]
        generate(out, num_clips=4, seed=7, kinds=kinds, duration_s=1, height_px=64)
        files = (path for path in out.rglob("*") if path.is_file())
        return {
            str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }

    first = digests(tmp_path / "a")
    assert first == digests(tmp_path / "b")
    assert len(set(first.values())) == len(first)


def test_bytes_do_not_depend_on_what_was_in_memory(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-c",
        "from avipipe.cli import main; main()",
        "synth",
        "--kind",
        "pack",
    ]
    words += ["--num-clips", "1", "--duration-s", "1", "--height-px", "240", "--out"]
    files = []
    for fill in ("1", "85", "170"):
        # glibc fills what it hands out with this.
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        subprocess.run([*words, str(tmp_path / fill)], check=True, env=environment)
        (path,) = (tmp_path / fill / "clips").iterdir()
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("kind", ["bounce", "strike", "motor", "barking", "speaker", "cuts"])
def test_sound_begins_at_event_times(kind: str, tmp_path: Path) -> None:
    truth = write_clip(render(kind, 3, height_px=HEIGHT_PX), tmp_path / "clip.mp4")
    wav_CN = read_audio(
        truth.path,
        probe(truth.path),
        start_s=0,
        end_s=truth.duration_s,
        sample_rate_hz=SAMPLE_RATE_HZ,
        mono=True,
    )
    assert truth.events_s
    for event_s in truth.events_s:
        assert onset_s(wav_CN[0], event_s) == pytest.approx(event_s, abs=0.010)


@pytest.mark.parametrize("kind", ["bounce_camouflaged", "strike_beside_drifter", "pack", "violin"])
def test_masks_are_the_pixels_that_are_drawn(kind: str) -> None:
    clip = render(kind, 5, height_px=HEIGHT_PX)
    time_s = clip.times_s[20]
    shot = replace(shot_at(clip.scene, time_s), noise_level=0.0)
    empty = replace(shot, sprites=())
    changed_HW = (shot.draw(float(time_s), clip.size) != empty.draw(float(time_s), clip.size)).any(
        axis=-1
    )
    union_HW = np.zeros(clip.size, np.bool_)
    for sprite, mask_HW in shot.masks(float(time_s), clip.size):
        assert not (union_HW & mask_HW).any(), f"{sprite.label} is hidden there"
        union_HW |= mask_HW
    assert not (changed_HW & ~union_HW).any()
    assert changed_HW[union_HW].mean() > 0.95


def test_masks_survive_the_disk_and_follow_frame_times(every_kind: Path) -> None:
    truths = {truth.kind: truth for truth in load_truth(every_kind / "truth.jsonl")}
    truth = truths["bounce_vfr"]
    drawn = render("bounce_vfr", truth.seed, duration_s=2.0, height_px=HEIGHT_PX).truth
    masks_THW = truth.masks()
    assert masks_THW.shape == (truth.num_frames, *truth.size)
    np.testing.assert_array_equal(masks_THW, drawn.masks())
    middle_s = (drawn.times_s[6] + drawn.times_s[7]) / 2
    shown = truth.masks([0.0, middle_s, drawn.times_s[7], 1e6])
    np.testing.assert_array_equal(shown, masks_THW[[0, 6, 7, -1]])


def test_a_bystander_is_known_but_is_not_the_instance(every_kind: Path) -> None:
    truths = {truth.kind: truth for truth in load_truth(every_kind / "truth.jsonl")}
    truth = truths["speaker_with_bystander"]
    assert [(track.label, track.sounding) for track in truth.tracks()] == [
        ("person", True),
        ("bystander", False),
    ]
    bystander = truth.masks([0.0], label="bystander")
    assert bystander.any()
    assert not (truth.masks([0.0]) & bystander).any()


def test_cuts_lie_at_declared_frames(tmp_path: Path) -> None:
    truth = write_clip(render("cuts", 2, duration_s=6, height_px=HEIGHT_PX), tmp_path / "c.mp4")
    frames = [frame.to_ndarray(format="gray").astype(float) for frame in pictures(truth.path)]
    steps = [np.abs(late - early).mean() for early, late in itertools.pairwise(frames)]
    largest = sorted(int(index) + 1 for index in np.argsort(steps)[-len(truth.cuts_s) :])
    assert len(truth.cuts_s) == 2
    assert largest == [round(cut_s * truth.frame_rate) for cut_s in truth.cuts_s]


def test_irregular_timestamps_reach_the_file(tmp_path: Path) -> None:
    truth = write_clip(render("bounce_vfr", 1, height_px=HEIGHT_PX), tmp_path / "clip.mp4")
    times_s = [frame.time for frame in pictures(truth.path)]
    assert truth.vfr
    assert len({round(step, 3) for step in np.diff(np.array(times_s, float))}) > 3
    np.testing.assert_allclose(times_s, truth.times_s, atol=1e-6)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30_000, 1_001)])
def test_frame_rates_are_exact(fps: Fraction, tmp_path: Path) -> None:
    clip = render("bounce", 1, duration_s=1, height_px=HEIGHT_PX, fps=fps)
    truth = write_clip(clip, tmp_path / "clip.mp4")
    times_s = [frame.time for frame in pictures(truth.path)]
    assert truth.frame_rate == fps
    np.testing.assert_allclose(times_s, [float(n / fps) for n in range(len(times_s))], atol=1e-4)


def test_frames_may_come_at_given_times(tmp_path: Path) -> None:
    times_s = [Fraction(ms, 1000) for ms in (0, 40, 90, 130, 700, 740)]
    clip = render("bounce", 1, duration_s=1, height_px=HEIGHT_PX, fps=times_s)
    truth = write_clip(clip, tmp_path / "clip.mkv")
    found = [frame.time for frame in pictures(truth.path)]
    np.testing.assert_allclose(found, [float(time_s) for time_s in times_s], atol=1e-6)


def test_a_rotated_clip_is_upright_when_it_is_shown(tmp_path: Path) -> None:
    clip = render("strike_rotated", 1, duration_s=1, height_px=HEIGHT_PX)
    truth = write_clip(clip, tmp_path / "clip.mp4")
    stored = next(pictures(truth.path))
    assert (stored.height, stored.width) == clip.size[::-1]
    shown = np.rot90(stored.to_ndarray(format="rgb24"), stored.rotation // 90)
    error = np.abs(shown.astype(float) - next(clip.frames()).astype(float)).mean()
    assert error < 6


def test_voices_are_heard_where_they_are_said_to_be() -> None:
    clip = render("dialogue", 4, height_px=HEIGHT_PX)
    wav_N = clip.wav_CN.mean(axis=0)
    spoken = np.zeros(wav_N.size, np.bool_)
    for voice in clip.truth.voices:
        spoken[round(voice.start_s * SAMPLE_RATE_HZ) : round(voice.end_s * SAMPLE_RATE_HZ)] = True
    first_s = clip.truth.voices[0].start_s
    assert {voice.speaker for voice in clip.truth.voices[:1]} != {clip.truth.voices[-1].speaker}
    assert wav_N[spoken].std() > 30 * wav_N[: round(first_s * SAMPLE_RATE_HZ) - 500].std()


def test_the_default_kinds_are_balanced() -> None:
    verdicts = [KINDS[name].verdict for name in DEFAULT_KINDS]
    assert verdicts.count("keep") == verdicts.count("drop")


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unicorn"):
        generate(tmp_path, num_clips=1, kinds=["bounce", "unicorn"])


def test_a_damaged_truth_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text('{"kind": "bounce"}\n')
    with pytest.raises(ManifestError, match=r"truth\.jsonl:1"):
        load_truth(path)
