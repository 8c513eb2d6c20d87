"""Real files with real oddities: each becomes a clip in sync, or fails with the right reason.

They are third-party material that is no part of this repository; without them this is skipped.
"""

import csv
from pathlib import Path

import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.manifests.records import Keep, SourceLine
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME, NormalizeConfig, normalize
from avipipe.media.probe import MediaInfo, probe
from avipipe.media.reference import Reference
from avipipe.media.sync import certify
from avipipe.stages.base import Item
from avipipe.stages.shots import Shots, ShotsConfig
from tests.integration.test_media_normalize import assert_is_a_clip, assert_same_pictures

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
LABELS = CLIPS / "labels.csv"

if not LABELS.exists():
    pytest.skip(f"the real clips are not at {CLIPS}", allow_module_level=True)

with LABELS.open(newline="") as file:
    ROWS = {row["file"]: row for row in csv.DictReader(file)}

# The long side that goes with 720, where the file has no square pixels or is turned.
ODD_SIZES = {
    "clip_003.mp4": (1280, 720),
    "clip_006.mp4": (1080, 720),
    "clip_007.mp4": (720, 1272),
    "clip_017.webm": (720, 720),
    "clip_030.mkv": (1278, 720),
    "clip_034.mp4": (1280, 720),
    "clip_042.webm": (1280, 720),
}


def has_sound(name: str) -> bool:
    return ROWS[name]["audio"] != "none"


@pytest.mark.parametrize("name", [name for name in ROWS if not has_sound(name)])
def test_a_file_without_sound_says_so(name: str) -> None:
    with pytest.raises(MediaError) as caught:
        probe(CLIPS / name)
    assert caught.value.kind is FailKind.NO_AUDIO_STREAM


HEARD = [name for name in ROWS if has_sound(name)]
IN_SHORT = {name for name in HEARD if ROWS[name]["verdict"] == "odd"} | set(HEARD[::10])
"""Those of the short run: all that are known to be odd, and some of the others."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in IN_SHORT else pytest.mark.slow) for name in HEARD],
)
def test_a_file_with_sound_becomes_a_clip_in_sync(tmp_path: Path, name: str) -> None:
    row, path = ROWS[name], CLIPS / name
    info = probe(path)
    # The header of clip_042 has no duration, and so has its label; the others' labels are of what
    # a person saw.
    if name.startswith("clip_") and name != "clip_042.webm":
        assert info.duration_s == pytest.approx(float(row["duration_s"]), abs=0.1)
    if row["fps"]:
        assert float(info.video.fps) == pytest.approx(float(row["fps"]), abs=0.7)

    is_odd = row["verdict"] == "odd"
    config = NormalizeConfig(short_side_px=720 if is_odd else 180)
    start_s = info.video.start_s
    end_s = min(start_s + (10 if is_odd else 3), info.video.end_s)
    written = normalize(path, info, start_s=start_s, end_s=end_s, folder=tmp_path, config=config)
    assert written.num_frames == round((end_s - start_s) * 24)
    assert_is_a_clip(tmp_path, written.num_frames, (written.width, written.height))
    if name in ODD_SIZES and is_odd:
        assert (written.width, written.height) == ODD_SIZES[name]
    # Sides that are rounded at another size cannot be compared pixel by pixel; the rest compares.
    if name.startswith("clip_"):
        assert_same_pictures(path, info, start_s, end_s, tmp_path)

    sync = certify(
        Reference.read(path, info, start_s=start_s, end_s=end_s),
        info,
        start_s=start_s,
        video=tmp_path / VIDEO_NAME,
        audio=tmp_path / AUDIO_NAME,
    )
    assert abs(sync.av_offset_ms) <= 20
    assert abs(sync.audio_offset_ms) <= 1
    assert (sync.wrong_picture_s, sync.wrong_sound_s) == (0, 0)


@pytest.mark.parametrize(
    ("name", "cuts_s"),
    [
        ("clip_038.mp4", [3.98]),
        ("clip_020.mp4", [2.67, 4.9, 7.13]),
        ("clip_018.mp4", []),
        ("clip_004.mp4", []),
    ],
)
def test_cuts_are_where_a_person_sees_them(tmp_path: Path, name: str, cuts_s: list[float]) -> None:
    found = shots(CLIPS / name, tmp_path)
    assert found.evidence["cuts_s"] == pytest.approx(cuts_s, abs=0.05)
    for child in found.children:
        assert not any(child.start_s < cut_s < child.end_s for cut_s in cuts_s)


def test_two_shots_with_a_hard_cut_are_two_clips(tmp_path: Path) -> None:
    children = shots(CLIPS / "clip_038.mp4", tmp_path).children
    assert len(children) == 2
    assert children[0].end_s < 3.98 < children[1].start_s


def shots(path: Path, folder: Path) -> Keep:
    info: MediaInfo = probe(path)
    evidence = {"fetch": {"path": str(path)}, "probe": info.to_json()}
    line = SourceLine(0, str(path), None, "list.txt:1")
    outcome = Shots(ShotsConfig()).run(Item("a", line, None, evidence, {"fetch": CLIPS}), folder)
    assert isinstance(outcome, Keep)
    return outcome
