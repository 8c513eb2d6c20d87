"""What a file holds, and what is wrong with one that holds nothing usable."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.media.ffmpeg import run
from avipipe.media.probe import MediaInfo, probe
from tests.integration.lavfi import DURATION_S, picture, remux, sound, turned, write

BT709 = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"


def test_facts_are_measured_and_survive_json(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mp4",
        video=picture("30000/1001", "160x120") + f",setsar=4/3,{BT709}",
        audio=sound(44_100, "stereo"),
    )
    info = probe(path)
    video, audio = info.video, info.audio
    assert (video.codec, video.width, video.height, video.pix_fmt) == ("h264", 160, 120, "yuv420p")
    assert (video.fps, video.sar, video.is_vfr) == (Fraction(30000, 1001), Fraction(4, 3), False)
    assert (video.matrix, video.primaries, video.trc) == ("bt709", "bt709", "bt709")
    assert video.num_packets == 120
    assert video.end_s == pytest.approx(120 * 1001 / 30000)
    assert (audio.rate_hz, audio.channels, audio.layout) == (44_100, 2, "stereo")
    assert (video.start_s, audio.start_s) == (0.0, 0.0)
    assert MediaInfo.from_json(json.loads(json.dumps(info.to_json()))) == info


def test_a_missing_duration_is_measured(tmp_path: Path) -> None:
    path = write(
        tmp_path / "live.webm",
        options=["-c:v", "libvpx", "-c:a", "libopus", "-live", "1", "-f", "webm"],
    )
    assert probe(path).duration_s == pytest.approx(DURATION_S, abs=0.03)


def test_a_header_is_not_believed_over_packets(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mp4", options=["-movflags", "+faststart"])
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 0.5 < probe(broken).duration_s < 0.8 * DURATION_S


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_the_clockwise_turn_to_upright(tmp_path: Path, degrees: int) -> None:
    path = turned(tmp_path / "turned.mp4", write(tmp_path / "a.mp4"), degrees=degrees)
    video = probe(path).video
    assert (video.rotation_deg, video.mirrored) == (-degrees % 360, False)
    assert list(video.shape) == ([120, 160] if degrees % 180 else [160, 120])


def test_mirroring_is_seen(tmp_path: Path) -> None:
    path = turned(tmp_path / "turned.mp4", write(tmp_path / "a.mp4"), hflip=True)
    assert probe(path).video.mirrored


def test_a_variable_rate_is_seen(tmp_path: Path) -> None:
    kept = picture("50") + ",select='not(mod(n,2))+gt(t,2)'"
    path = write(tmp_path / "vfr.mkv", video=kept, options=["-fps_mode", "vfr"])
    assert probe(path).video.is_vfr


def test_late_streams_count_from_the_earliest(tmp_path: Path) -> None:
    late_video = probe(write(tmp_path / "v.mkv", video_offset_s=0.4))
    assert late_video.video.start_s == pytest.approx(0.4, abs=0.03)
    assert late_video.audio.start_s == pytest.approx(0.0, abs=0.03)
    transport = probe(remux(tmp_path / "a.ts", write(tmp_path / "a.mp4")))
    assert transport.start_s > 1
    assert transport.video.start_s < 0.1


def test_interlacing_is_seen(tmp_path: Path) -> None:
    path = write(
        tmp_path / "i.mp4",
        video=picture("50") + ",tinterlace=mode=interleave_top",
        options=["-flags", "+ilme+ildct", "-x264opts", "tff=1"],
    )
    assert probe(path).video.interlaced


def test_covers_and_subtitles_are_passed_over(tmp_path: Path) -> None:
    cover, plain = tmp_path / "cover.png", write(tmp_path / "a.mp4")
    write(cover, video="color=red:s=640x480", audio=None, options=["-frames:v", "1", "-c:v", "png"])
    covered = tmp_path / "covered.mp4"
    inputs = ["-i", str(cover), "-i", str(plain), "-map", "0", "-map", "1", "-c", "copy"]
    run([*inputs, "-disposition:v:0", "attached_pic", str(covered)], timeout_s=60)
    video = probe(covered).video
    assert (video.codec, video.width) == ("h264", 160)


def no_audio(folder: Path) -> Path:
    return write(folder / "a.mp4", audio=None)


def no_video(folder: Path) -> Path:
    return write(folder / "a.m4a", video=None)


def text(folder: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("this is no video\n" * 100)
    return path


def playlist(folder: Path) -> Path:
    """A file that would make ffmpeg open others."""
    write(folder / "a.mp4")
    path = folder / "list.mp4"
    path.write_text(f"ffconcat version 1.0\nfile '{folder / 'a.mp4'}'\n")
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def without_index(folder: Path) -> Path:
    whole = write(folder / "a.mp4").read_bytes()
    path = folder / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    return path


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (no_audio, FailKind.NO_AUDIO_STREAM),
        (no_video, FailKind.NO_VIDEO_STREAM),
        (text, FailKind.NOT_MEDIA),
        (playlist, FailKind.NOT_MEDIA),
        (empty, FailKind.EMPTY_FILE),
        (without_index, FailKind.CORRUPT),
        (lambda folder: folder / "none.mp4", FailKind.NO_SUCH_FILE),
    ],
)
def test_unusable_files_say_why(
    tmp_path: Path, make: Callable[[Path], Path], kind: FailKind
) -> None:
    with pytest.raises(MediaError) as caught:
        probe(make(tmp_path))
    assert caught.value.kind is kind
    assert "expected" in str(caught.value)
