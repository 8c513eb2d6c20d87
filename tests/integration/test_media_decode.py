"""Pictures and sound on one clock, from anywhere in a file."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.media.decode import iter_frames, iter_pictures, read_audio, read_frames, scaled_size
from avipipe.media.probe import MediaInfo, VideoInfo, probe
from tests.integration.lavfi import EVENTS_S, beeps_s, picture, remux, sound, turned, write

FPS = Fraction(25)
CONTAINERS = ("mp4", "mkv", "ts")


@pytest.fixture(scope="module", params=CONTAINERS)
def events(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decode")
    return remux(folder / f"a.{request.param}", write(folder / "source.mp4"))


@pytest.mark.parametrize("start_s", [0.0, 0.52, 1.88, 2.96])
def test_intervals_keep_the_clock(events: Path, start_s: float) -> None:
    info = probe(events)
    frames_THWC = read_frames(events, info, start_s=start_s, end_s=4, fps=FPS, height_px=40)
    wave_CN = read_audio(events, info, start_s=start_s, end_s=4, sample_rate_hz=16_000, mono=True)
    assert frames_THWC.shape == (round((4 - start_s) * 25), 40, 54, 3)
    assert wave_CN.shape == (1, round((4 - start_s) * 16_000))

    expected_s = [event_s for event_s in EVENTS_S if event_s > start_s]
    heard_s = [start_s + beep_s for beep_s in beeps_s(wave_CN[0], 16_000)]
    bright_T = frames_THWC.mean(axis=(1, 2, 3)) > 170
    seen_s = [start_s + (n + 1) / 25 for n in np.flatnonzero(~bright_T[:-1] & bright_T[1:])]
    # A transport stream cannot say that the first 23 ms of its AAC are run-in; it delays both.
    assert heard_s == pytest.approx([t + info.video.start_s for t in expected_s], abs=2e-3)
    assert seen_s == pytest.approx([t + info.video.start_s for t in expected_s], abs=0.021)


def test_reading_a_part_equals_a_part_of_the_whole(tmp_path: Path) -> None:
    options = ["-g", "250", "-bf", "3", "-c:a", "pcm_s16le"]
    path = write(tmp_path / "a.mov", audio=sound(48_000), options=options)
    info = probe(path)
    whole = read_frames(path, info, start_s=0, end_s=4, fps=FPS, height_px=64)
    part = read_frames(path, info, start_s=2.2, end_s=3.0, fps=FPS, height_px=64)
    assert np.array_equal(part, whole[55:75])
    heard = read_audio(path, info, start_s=0, end_s=4, sample_rate_hz=48_000, mono=False)
    later = read_audio(path, info, start_s=2.2, end_s=3.0, sample_rate_hz=48_000, mono=False)
    assert np.array_equal(later, heard[:, 105_600:144_000])


def test_frames_are_yielded_one_by_one_as_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    info = probe(path)
    frames = read_frames(path, info, start_s=0.3, end_s=1.7, fps=FPS, height_px=64)
    one_by_one = iter_frames(path, info, start_s=0.3, end_s=1.7, fps=FPS, height_px=64)
    assert np.array_equal(frames, np.stack(list(one_by_one)))


def test_what_is_missing_is_repeated_or_silent(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv",
        video=picture(duration_s=2.0),
        audio=sound(duration_s=1.5),
        video_offset_s=0.52,
        options=["-c:a", "flac"],
    )
    info = probe(path)
    frames = read_frames(path, info, start_s=0, end_s=4, fps=FPS, height_px=32)
    changes = np.flatnonzero((frames[1:] != frames[:-1]).any(axis=(1, 2, 3))) + 1
    assert (changes[0], changes[-1]) == (14, 62)
    wave_CN = read_audio(path, info, start_s=0, end_s=4, sample_rate_hz=16_000, mono=True)
    assert wave_CN.shape == (1, 64_000)
    assert np.abs(wave_CN[0, :16_000]).max() > 0
    assert not wave_CN[0, 25_000:].any()


def test_a_gap_in_the_sound_stays_a_gap(tmp_path: Path) -> None:
    holed = sound(48_000, duration_s=3.0) + ",aselect='not(between(t,1.4,1.9))'"
    path = write(tmp_path / "a.mkv", audio=holed, options=["-c:a", "pcm_s16le"])
    info = probe(path)
    wave_CN = read_audio(path, info, start_s=0, end_s=3, sample_rate_hz=48_000, mono=True)
    assert beeps_s(wave_CN[0], 48_000) == pytest.approx([1.0, 2.0], abs=2e-3)
    assert not wave_CN[0, 70_000:90_000].any()


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_channels_are_mixed_to_one_or_two(tmp_path: Path, layout: str) -> None:
    path = write(tmp_path / "a.mkv", audio=sound(48_000, layout), options=["-c:a", "flac"])
    info = probe(path)
    one = read_audio(path, info, start_s=0.9, end_s=1.4, sample_rate_hz=48_000, mono=True)
    two = read_audio(path, info, start_s=0.9, end_s=1.4, sample_rate_hz=48_000, mono=False)
    assert one.shape == (1, 24_000)
    assert two.shape == (2, 24_000)
    assert np.array_equal(two[0], two[1])
    assert 0.2 < np.abs(one).max() <= 1


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_upright(tmp_path: Path, degrees: int) -> None:
    """A red corner is where the display matrix sends it."""
    corner = "color=gray:s=160x120:d=1,drawbox=w=80:h=60:t=fill:color=red"
    path = turned(tmp_path / "turned.mp4", write(tmp_path / "a.mp4", video=corner), degrees=degrees)
    frame = read_frames(path, probe(path), start_s=0, end_s=0.1, fps=FPS, height_px=60)[0]
    is_red = frame[..., 0].astype(int) > frame[..., 1].astype(int) + 60
    coded = np.zeros((60, 80), bool)
    coded[:30, :40] = True
    expected = np.rot90(coded, degrees // 90)
    assert is_red.shape == expected.shape
    assert np.mean(is_red == expected) > 0.97


def test_a_seek_that_lands_between_key_frames_is_made_good(tmp_path: Path) -> None:
    """A transport stream has no index, and this one a single key frame."""
    path = write(
        tmp_path / "a.ts", video=picture(duration_s=8.0), audio=sound(), options=["-g", "999"]
    )
    info = probe(path)
    frames = read_frames(path, info, start_s=4.0, end_s=4.4, fps=FPS, height_px=32)
    whole = read_frames(path, info, start_s=0.0, end_s=4.4, fps=FPS, height_px=32)
    assert np.array_equal(frames, whole[100:])


def test_pictures_as_recorded_begin_with_the_one_on_screen(tmp_path: Path) -> None:
    path = write(tmp_path / "slow.mp4", video=picture("2"))
    info = probe(path)
    size = (32, 24)
    pictures = iter_pictures(path, info, start_s=0.7, end_s=2.0, size=size, pix_fmt="gray")
    assert [time_s for time_s, _ in pictures] == [0.5, 1.0, 1.5]


def video_info(width: int, height: int, sar: Fraction, rotation_deg: int) -> VideoInfo:
    return VideoInfo(
        index=0,
        codec="h264",
        width=width,
        height=height,
        rotation_deg=rotation_deg,
        mirrored=False,
        sar=sar,
        fps=FPS,
        is_vfr=False,
        pix_fmt="yuv420p",
        trc="bt709",
        primaries="bt709",
        matrix="bt709",
        range="tv",
        interlaced=False,
        start_s=0.0,
        last_s=0.96,
        end_s=1.0,
        num_packets=25,
    )


@pytest.mark.parametrize(
    ("width", "height", "sar", "rotation_deg", "expected"),
    [
        (1920, 1080, Fraction(1), 0, (1280, 720)),
        (1920, 1080, Fraction(1), 90, (720, 1280)),
        (1440, 1080, Fraction(4, 3), 0, (1280, 720)),
        (720, 576, Fraction(16, 15), 0, (960, 720)),
        (321, 181, Fraction(1), 0, (1276, 720)),
        (8000, 100, Fraction(1), 0, (2560, 32)),
        (4, 4000, Fraction(1), 0, (2, 2560)),
    ],
)
def test_sizes_are_even_and_bounded(
    width: int, height: int, sar: Fraction, rotation_deg: int, expected: tuple[int, int]
) -> None:
    video = video_info(width, height, sar, rotation_deg)
    assert scaled_size(video, 720, upscale=True, max_long_side_px=2560) == expected
    assert min(scaled_size(video, 720)) <= min(float(width * sar), height, 720) + 1


def damaged(path: Path, *, share: float) -> tuple[Path, MediaInfo]:
    """Overwrite a share of a file's packets, after it has been probed."""
    whole = write(path, options=["-g", "1", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"])
    info = probe(whole)
    data = bytearray(whole.read_bytes())
    step = 4000
    for at in range(20_000, len(data) - 5000, step):
        if (at // step % 10) < share * 10:
            data[at : at + step] = bytes(step)
    whole.write_bytes(bytes(data))
    return whole, info


def test_a_few_lost_packets_are_borne(tmp_path: Path) -> None:
    path, info = damaged(tmp_path / "a.avi", share=0.1)
    frames = read_frames(path, info, start_s=0, end_s=4, fps=FPS, height_px=32)
    assert len(frames) == 100


def test_most_packets_lost_is_corrupt(tmp_path: Path) -> None:
    path, info = damaged(tmp_path / "a.avi", share=1.0)
    with pytest.raises(MediaError) as caught:
        read_frames(path, info, start_s=1, end_s=4, fps=FPS, height_px=32)
    assert caught.value.kind is FailKind.CORRUPT
