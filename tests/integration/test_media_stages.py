"""The stages that read media: probe, shots and cut."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.manifests.records import Keep, SourceLine, Span
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME
from avipipe.media.probe import probe
from avipipe.stages.base import Item
from avipipe.stages.cut import Cut, CutConfig
from avipipe.stages.probe import Probe, ProbeConfig
from avipipe.stages.shots import Shots, ShotsConfig
from tests.integration.lavfi import picture, sound, write

THREE_SHOTS = (
    "testsrc2=s=160x120:r=25:d=2[a];mandelbrot=s=160x120:r=25,trim=duration=3[b];"
    "smptebars=s=160x120:r=25:d=1,format=yuv420p[c];[a][b][c]concat=n=3"
)


def item(path: Path, *, wanted: Span | None = None, span: Span | None = None) -> Item:
    line = SourceLine(0, str(path), wanted, "list.txt:1")
    evidence = {"fetch": {"path": str(path)}, "probe": probe(path).to_json()}
    return Item("item", line, span, evidence, dict.fromkeys(("fetch", "shots"), path.parent))


def kept(outcome: object) -> Keep:
    assert isinstance(outcome, Keep)
    return outcome


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shots") / "three.mp4"
    return write(path, video=THREE_SHOTS, audio=sound(duration_s=6.0))


def shots_of(path: Path, wanted: Span | None = None, **config: Any) -> Keep:
    return kept(Shots(ShotsConfig(**config)).run(item(path, wanted=wanted), path.parent))


def test_probe_gives_the_facts(three_shots: Path) -> None:
    found = kept(Probe(ProbeConfig()).run(item(three_shots), three_shots.parent))
    assert found.evidence == probe(three_shots).to_json()


def test_cuts_are_found_exactly(three_shots: Path) -> None:
    found = shots_of(three_shots)
    assert found.evidence["cuts_s"] == [2.0, 5.0]
    assert found.evidence["num_shots"] == 3


def test_clips_stay_clear_of_cuts_and_are_whole(three_shots: Path) -> None:
    children = shots_of(three_shots, guard_frames=2).children
    assert [(c.start_s, c.end_s) for c in children] == [(0.0, 1.875), (2.08, 4.83), (5.08, 5.955)]
    for child in children:
        assert child.duration_s * 8 == pytest.approx(round(child.duration_s * 8))


def test_long_shots_are_split_evenly(three_shots: Path) -> None:
    children = shots_of(three_shots, max_clip_s=1.0, guard_frames=0).children
    assert len(children) == 2 + 3 + 1
    assert all(0.8 < child.duration_s <= 1.0 for child in children)
    assert all(a.end_s <= b.start_s + 0.03 for a, b in pairwise(children))


def test_a_wanted_range_is_kept_to(three_shots: Path) -> None:
    found = shots_of(three_shots, Span(2.5, 4.5))
    assert found.evidence["cuts_s"] == []
    assert [(c.start_s, c.end_s) for c in found.children] == [(2.48, 4.48)]
    over_the_end = shots_of(three_shots, Span(5.5, 60.0))
    assert [(c.start_s, c.end_s) for c in over_the_end.children] == [(5.48, 5.98)]


def test_a_range_outside_fails(three_shots: Path) -> None:
    with pytest.raises(MediaError) as caught:
        shots_of(three_shots, Span(60.0, 70.0))
    assert caught.value.kind is FailKind.RANGE_OUTSIDE


def test_even_the_shortest_source_has_a_clip(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mp4",
        video=picture(duration_s=0.08),
        audio=sound(duration_s=0.08),
    )
    assert len(shots_of(path).children) == 1


def test_cut_writes_and_certifies(three_shots: Path, tmp_path: Path) -> None:
    stage = Cut(CutConfig(short_side_px=72, crop_bars=False))
    shots_of(three_shots)
    found = kept(stage.run(item(three_shots, span=Span(2.08, 3.58)), tmp_path))
    assert found.files == (VIDEO_NAME, AUDIO_NAME)
    assert {path.name for path in tmp_path.iterdir()} == set(found.files)
    facts = {key: found.evidence[key] for key in ("num_frames", "num_samples", "width", "height")}
    assert facts == {"num_frames": 36, "num_samples": 72_000, "width": 96, "height": 72}
    assert abs(found.evidence["sync"]["av_offset_ms"]) <= 20


def test_cut_refuses_what_it_cannot_keep_in_sync(tmp_path: Path) -> None:
    """Pictures 10 ms off the grid stay 10 ms off; this gate is tighter than that."""
    source = write(tmp_path / "source.mp4", video=picture("24"))
    stage = Cut(CutConfig(short_side_px=72, max_offset_ms=5, crop_bars=False))
    shots_of(source)
    with pytest.raises(MediaError) as caught:
        stage.run(item(source, span=Span(0.51, 3.51)), tmp_path)
    assert caught.value.kind is FailKind.OUT_OF_SYNC
    assert kept(stage.run(item(source, span=Span(0.5, 3.5)), tmp_path))


def test_cut_refuses_what_the_source_does_not_hold(tmp_path: Path) -> None:
    """The file has changed since its shots were found."""
    source = write(tmp_path / "source.mp4", video=picture("24"))
    shots_of(source)
    write(source, video="mandelbrot=s=160x120:r=24,trim=duration=4")
    with pytest.raises(MediaError) as caught:
        Cut(CutConfig(short_side_px=72, crop_bars=False)).run(
            item(source, span=Span(0.5, 3.5)), tmp_path
        )
    assert caught.value.kind is FailKind.WRONG_CONTENT


def test_too_many_clips_are_refused(three_shots: Path) -> None:
    with pytest.raises(MediaError) as caught:
        shots_of(three_shots, max_clip_s=0.5, max_clips=5)
    assert caught.value.kind is FailKind.TOO_LARGE


@pytest.mark.parametrize(
    "limit", [{"max_pixels": 160 * 120 - 1}, {"max_audio_channels": 1}, {"max_duration_s": 5.0}]
)
def test_what_is_too_large_is_refused_before_it_is_decoded(
    tmp_path: Path, limit: dict[str, Any]
) -> None:
    path = write(tmp_path / "a.mp4", video=THREE_SHOTS, audio=sound(48_000, "stereo", 6.0))
    with pytest.raises(MediaError, match=f"stages.probe.{next(iter(limit))}") as caught:
        Probe(ProbeConfig(**limit)).run(item(path), tmp_path)
    assert caught.value.kind is FailKind.TOO_LARGE


def test_keys_depend_on_what_changes_the_bytes() -> None:
    upstream = {"fetch": "a", "probe": "b", "shots": "c", "look": "d"}

    def key(**config: Any) -> str:
        return Cut(CutConfig(**config)).key("item", upstream)

    assert key() == key(timeout_factor=9.0)
    assert key() != key(crf=20)
    assert key() != key(crop_bars=False)
    assert "ffmpeg" in Cut(CutConfig()).settings()["versions"]
