"""Bars are cut off before a clip is scaled, and the certificate knows."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.files import sha256_of
from avipipe.manifests.evidence import PictureSeen
from avipipe.manifests.records import Evidence, Keep, SourceLine, Span
from avipipe.media.crop import Shares
from avipipe.media.decode import read_frames
from avipipe.media.normalize import AUDIO_NAME, FPS, VIDEO_NAME
from avipipe.media.probe import MediaInfo, probe
from avipipe.media.reference import Reference
from avipipe.media.sync import certify
from avipipe.pipeline.remeasure import Remeasure
from avipipe.stages.base import Item
from avipipe.stages.cut import Cut, CutConfig
from avipipe.stages.look import seen_picture
from avipipe.stages.shots import Shots, ShotsConfig
from tests.integration.lavfi import picture, sound, turned, write

BARS = "pad=320:180:0:30:black"
"""Over and under pictures of 320x120."""


@pytest.fixture(scope="module")
def letterboxed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "source.mp4"
    return write(path, video=f"{picture(size='320x120')},{BARS}", audio=sound())


def seen(path: Path) -> PictureSeen:
    info = probe(path)
    frames = read_frames(path, info, start_s=0.0, end_s=3.0, fps=FPS, height_px=180)
    return seen_picture(frames)


def item(path: Path, picture_seen: PictureSeen) -> Item:
    line = SourceLine(0, str(path), None, "list.txt:1")
    known: dict[str, Evidence] = {"fetch": {"path": str(path)}, "probe": probe(path).to_json()}
    folders = dict.fromkeys(("fetch", "shots", "look"), path.parent)
    Shots(ShotsConfig()).run(Item("item", line, None, known, folders), path.parent)
    nothing = dict.fromkeys(
        ("correlation", "p_value", "margin", "lag_s", "box", "localization_confidence", "faces")
    )
    known["look"] = {
        **nothing,
        **dict.fromkeys(("sync_offset_s", "sync_z", "motion_px")),
        "num_frames": 72,
        "measures": {},
        "backends": {},
        "picture": picture_seen.model_dump(mode="json"),
    }
    return Item("item", line, Span(0.5, 3.5), known, folders)


def cut(path: Path, folder: Path, **config: bool) -> Evidence:
    outcome = Cut(CutConfig(short_side_px=120, **config)).run(item(path, seen(path)), folder)
    assert isinstance(outcome, Keep)
    return outcome.evidence


def written_frames(folder: Path) -> np.ndarray:
    info = probe(folder / VIDEO_NAME)
    return read_frames(folder / VIDEO_NAME, info, start_s=0.0, end_s=3.0, fps=FPS, height_px=120)


def test_bars_are_cut_off_and_the_rest_is_the_sources(letterboxed: Path, tmp_path: Path) -> None:
    found = cut(letterboxed, tmp_path)
    assert found["crop"] == pytest.approx([0.0, 30 / 180, 1.0, 150 / 180], abs=1 / 90)
    height = 180 * (found["crop"][3] - found["crop"][1])
    assert (found["width"], found["height"]) == (round(320 * 120 / height / 2) * 2, 120)
    frames = written_frames(tmp_path)
    assert frames[:, :2].mean() > 40
    assert frames[:, -2:].mean() > 40
    sync = found["sync"]
    assert abs(sync["av_offset_ms"]) <= 20
    assert (sync["method"], sync["wrong_picture_s"]) == ("content", 0.0)
    assert sync["video_confidence"] > 0.5


def test_bars_stay_where_they_are_wanted(letterboxed: Path, tmp_path: Path) -> None:
    found = cut(letterboxed, tmp_path, crop_bars=False)
    assert found["crop"] == [0.0, 0.0, 1.0, 1.0]
    assert written_frames(tmp_path)[:, :15].max() < 40


def test_another_part_of_the_picture_is_another_picture(letterboxed: Path, tmp_path: Path) -> None:
    found = cut(letterboxed, tmp_path)
    x0, y0, x1, y1 = found["crop"]

    def wrong_s(crop: Shares) -> float:
        reference = Reference.load(letterboxed.parent)
        info: MediaInfo = probe(letterboxed)
        files = {"video": tmp_path / VIDEO_NAME, "audio": tmp_path / AUDIO_NAME}
        return certify(reference, info, start_s=0.5, crop=crop, **files).wrong_picture_s

    assert wrong_s((x0, y0, x1, y1)) == 0.0
    assert wrong_s((0.0, 0.0, 1.0, 1.0)) > 1.0
    assert wrong_s((x0, 0.0, x1, 0.5)) > 1.0


def test_a_crop_is_turned_as_the_picture_is(letterboxed: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    path = turned(source / "turned.mp4", letterboxed, degrees=90, hflip=True)
    found = cut(path, tmp_path)
    assert found["crop"] == pytest.approx([30 / 180, 0.0, 150 / 180, 1.0], abs=1 / 90)
    assert found["width"] < found["height"]
    frames = written_frames(tmp_path)
    assert frames[:, :, :2].mean() > 40
    assert found["sync"]["wrong_picture_s"] == 0.0


def test_wide_pixels_stay_wide(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    path = write(
        source / "wide.mp4", video=f"{picture(size='320x120')},{BARS},setsar=2", audio=sound()
    )
    found = cut(path, tmp_path)
    kept = 180 * (found["crop"][3] - found["crop"][1])
    assert found["width"] / found["height"] == pytest.approx(640 / kept, rel=0.02)


def test_cut_refuses_a_source_that_has_changed_within_its_bars(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    path = write(source / "a.mp4", video=f"{picture(size='320x120')},{BARS}", audio=sound())
    known = item(path, seen(path))
    write(path, video=f"mandelbrot=s=320x120:r=25,trim=duration=4,{BARS}", audio=sound())
    with pytest.raises(MediaError) as caught:
        Cut(CutConfig(short_side_px=120)).run(known, tmp_path)
    assert caught.value.kind is FailKind.WRONG_CONTENT


def test_cropped_clips_are_measured_again(letterboxed: Path, tmp_path: Path) -> None:
    found = cut(letterboxed, tmp_path)
    source = shutil.copy(letterboxed, tmp_path / "copy.mp4")
    facts = {
        "source": {"uri": str(source), "sha256": sha256_of(Path(source))},
        "span": {"start_s": 0.5, "end_s": 3.5},
        "crop": found["crop"],
    }
    members = {
        "mp4": (tmp_path / VIDEO_NAME).read_bytes(),
        "flac": (tmp_path / AUDIO_NAME).read_bytes(),
    }
    again = Remeasure(max_offset_ms=20.0)
    assert list(again.check(facts, members)) == []
    faults = list(again.check(facts | {"crop": [0.0, 0.0, 1.0, 1.0]}, members))
    assert any("other pictures" in fault for fault in faults)
    assert again.num_measured == 2
