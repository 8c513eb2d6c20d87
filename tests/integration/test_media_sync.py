"""A certificate tells what has moved, by how much, and when it cannot know."""

import shutil
from fractions import Fraction
from pathlib import Path

import pytest

from avipipe.media.ffmpeg import run
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME, NormalizeConfig, normalize
from avipipe.media.probe import probe
from avipipe.media.reference import Reference
from avipipe.media.sync import SyncCertificate, certify
from tests.containers.table import FILES
from tests.integration.lavfi import picture, sound, write

CONFIG = NormalizeConfig(short_side_px=72)
FRAME_MS = float(Fraction(1000, 24))
SHRUNK_START_S = 2.276


def cut(source: Path, folder: Path, start_s: float = 0.0, end_s: float = 4.0) -> None:
    normalize(source, probe(source), start_s=start_s, end_s=end_s, folder=folder, config=CONFIG)


def certificate(
    source: Path, folder: Path, *, start_s: float = 0.0, audio: str = AUDIO_NAME
) -> SyncCertificate:
    info = probe(source)
    return certify(
        Reference.read(source, info, start_s=0.0, end_s=4.0),
        info,
        start_s=start_s,
        video=folder / VIDEO_NAME,
        audio=folder / audio,
    )


def shift_audio(folder: Path, shift_ms: int) -> None:
    """Move the sound of a finished clip; positive is later."""
    path, moved = folder / AUDIO_NAME, folder / "moved.flac"
    graph = f"adelay={shift_ms}:all=1" if shift_ms > 0 else f"atrim=start={-shift_ms / 1000}"
    run(["-i", str(path), "-af", f"{graph},asetpts=N/SR/TB", str(moved)], timeout_s=60)
    moved.replace(path)


def shift_video(folder: Path, num_frames: int) -> None:
    """Move the pictures of a finished clip; positive is later."""
    if num_frames > 0:
        graph = f"tpad=start={num_frames}:start_mode=clone"
    else:
        graph = f"trim=start_frame={-num_frames},setpts=PTS-STARTPTS"
    filter_video(folder / VIDEO_NAME, graph)


def filter_video(path: Path, graph: str) -> None:
    """Change the pictures of a finished clip."""
    changed = path.with_stem("changed")
    run(["-i", str(path), "-vf", graph, "-bf", "0", "-g", "24", str(changed)], timeout_s=60)
    changed.replace(path)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    source = write(tmp_path / "source.mp4", video=picture("24"))
    cut(source, tmp_path)
    return source


def test_an_untouched_clip_is_exact(clip: Path) -> None:
    found = certificate(clip, clip.parent)
    assert found.method == "content"
    assert (found.video_offset_ms, found.audio_offset_ms) == pytest.approx((0, 0), abs=1)
    assert found.video_confidence > 0.5
    assert found.audio_confidence > 0.3


@pytest.mark.parametrize("shift_ms", [-200, -40, 15, 40, 350])
def test_moved_sound_is_measured(clip: Path, shift_ms: int) -> None:
    shift_audio(clip.parent, shift_ms)
    found = certificate(clip, clip.parent)
    assert found.audio_offset_ms == pytest.approx(shift_ms, abs=1)
    assert found.av_offset_ms == pytest.approx(shift_ms, abs=2)


@pytest.mark.parametrize("num_frames", [-2, -1, 1, 3])
def test_moved_pictures_are_measured(clip: Path, num_frames: int) -> None:
    shift_video(clip.parent, num_frames)
    found = certificate(clip, clip.parent)
    assert found.video_offset_ms == pytest.approx(num_frames * FRAME_MS, abs=2)
    assert found.av_offset_ms == pytest.approx(-num_frames * FRAME_MS, abs=3)


def test_a_cut_between_two_pictures_shows_its_rounding(tmp_path: Path) -> None:
    """A 24 fps source cut 10 ms after a picture appears: the clip shows it 10 ms late."""
    source = write(tmp_path / "source.mp4", video=picture("24"))
    cut(source, tmp_path, start_s=0.51)
    found = certificate(source, tmp_path, start_s=0.51)
    assert found.video_offset_ms == pytest.approx(10, abs=2)


def test_the_sound_for_players_is_in_sync_too(clip: Path) -> None:
    found = certificate(clip, clip.parent, audio=VIDEO_NAME)
    assert found.audio_offset_ms == pytest.approx(0, abs=1)


@pytest.mark.parametrize(
    ("video", "audio", "method"),
    [
        ("color=gray:s=160x120:r=25:d=4", sound(), "audio-content"),
        (picture(), "anullsrc=d=4", "video-content"),
        (picture(), "sine=f=440:d=4", "video-content"),
        ("smptebars=s=160x120:r=25:d=4", "anullsrc=d=4", "timestamps"),
    ],
)
def test_without_content_timestamps_have_to_do(
    tmp_path: Path, video: str, audio: str, method: str
) -> None:
    source = write(tmp_path / "source.mp4", video=video, audio=audio)
    cut(source, tmp_path, 1.0, 3.0)
    found = certificate(source, tmp_path, start_s=1.0)
    assert found.method == method
    assert abs(found.av_offset_ms) <= 21


@pytest.mark.parametrize(
    "other",
    [
        {"audio": "anoisesrc=d=4:c=pink:a=0.5:seed=3"},
        {"video": "mandelbrot=s=160x120:r=25,trim=duration=4"},
    ],
)
def test_another_content_is_wrong(tmp_path: Path, other: dict[str, str]) -> None:
    source = write(tmp_path / "source.mp4")
    cut(write(tmp_path / "other.mp4", **other), tmp_path)  # type: ignore[arg-type]
    found = certificate(source, tmp_path)
    wrong_s = found.wrong_sound_s if "audio" in other else found.wrong_picture_s
    assert wrong_s > 2
    assert (found.wrong_picture_s > 0) is ("video" in other)


@pytest.mark.parametrize(
    ("graph", "wrong_s"),
    [
        (
            "loop=loop=23:size=1:start=48,trim=end_frame=96",
            1.7,
        ),  # it stands still, and goes on late
        ("shuffleframes=0 1 2 3 4 5 6 7 8 9 10 11 18 13 14 15 16 17 12 19 20 21 22 23", 0.3),
    ],
)
def test_some_pictures_that_are_not_the_sources_are_found(
    clip: Path, graph: str, wrong_s: float
) -> None:
    filter_video(clip.parent / VIDEO_NAME, graph)
    found = certificate(clip, clip.parent)
    assert found.wrong_picture_s == pytest.approx(wrong_s, rel=0.2)


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source that has a quarter of the pixels from 4.02 s on, and the folder of a clip of it."""
    source_folder, clip_folder = (tmp_path_factory.mktemp(name) for name in ("source", "clip"))
    source = FILES["MKV H.264 shrinks midway"](source_folder).path
    config = NormalizeConfig(short_side_px=240)
    span = {"start_s": SHRUNK_START_S, "end_s": SHRUNK_START_S + 2.5}
    normalize(source, probe(source), **span, folder=clip_folder, config=config)  # type: ignore[arg-type]
    return source, clip_folder


@pytest.mark.parametrize(
    ("graph", "num_wrong"),
    [
        ("null", 0),  # though what is scaled up is further from the source
        ("negate=enable='eq(n,20)'", 1),
        ("negate=enable='eq(n,50)'", 1),
        ("negate=enable='eq(n,59)'", 1),
        ("drawbox=w=iw/6:h=ih/4:x=iw/6:color=gray:t=fill:enable='eq(n,50)'", 1),
        # as much as the small pictures are further away, in a large one
        ("lutyuv=y='val*0.985':enable='eq(n,20)'", 1),
        ("lutyuv=y='val*0.95':enable='gte(n,42)'", 18),
        ("loop=loop=17:size=1:start=42,trim=end_frame=60", 17),
    ],
)
def test_pictures_scaled_worse_midway_are_right_and_no_others(
    shrunk: tuple[Path, Path], tmp_path: Path, graph: str, num_wrong: int
) -> None:
    assert wrong_pictures(shrunk, tmp_path, graph) == num_wrong


@pytest.mark.parametrize(("part", "num_wrong"), [("lt(n,30)", 30), ("gte(n,42)", 18)])
def test_another_content_in_a_part_is_wrong(
    shrunk: tuple[Path, Path], tmp_path: Path, part: str, num_wrong: int
) -> None:
    other = f"mandelbrot=s=320x240:r=24[other];[in][other]overlay=shortest=1:enable='{part}'"
    assert wrong_pictures(shrunk, tmp_path, other) == num_wrong


def wrong_pictures(source_and_clip: tuple[Path, Path], folder: Path, graph: str) -> int:
    """How many pictures are found wrong after a filter has gone over the written clip."""
    source, clip_folder = source_and_clip
    shutil.copytree(clip_folder, folder, dirs_exist_ok=True)
    filter_video(folder / VIDEO_NAME, graph)
    info = probe(source)
    found = certify(
        Reference.read(source, info, start_s=0.0, end_s=info.duration_s),
        info,
        start_s=SHRUNK_START_S,
        video=folder / VIDEO_NAME,
        audio=folder / AUDIO_NAME,
    )
    return round(found.wrong_picture_s * 24)


def test_a_static_source_excuses_nothing(tmp_path: Path) -> None:
    """Its pictures do not tell a place, so a change of two levels midway is another content."""
    video = "color=black:s=160x120:r=24:d=4,drawbox=w=80:color=white:t=fill"
    source = write(tmp_path / "source.mp4", video=video)
    cut(source, tmp_path)
    assert certificate(source, tmp_path).wrong_picture_s == 0
    filter_video(tmp_path / VIDEO_NAME, "lutyuv=y='val*0.985':enable='gte(t,2.5)'")
    assert certificate(source, tmp_path).wrong_picture_s == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(
    "graph",
    [
        "volume=0:enable='between(t,1,1.5)'",
        "asplit[a][b];[a]atrim=0:2[c];[b]atrim=2.03,adelay=0[d];[c][d]concat=v=0:a=1,apad=whole_dur=4",
    ],
)
def test_some_sound_that_is_not_the_sources_is_found(clip: Path, graph: str) -> None:
    path, moved = clip.parent / AUDIO_NAME, clip.parent / "moved.flac"
    run(["-i", str(path), "-filter_complex", graph, str(moved)], timeout_s=60)
    moved.replace(path)
    found = certificate(clip, clip.parent)
    assert found.wrong_sound_s > 0
