"""Every kind of file becomes the same kind of clip, with its events where they were."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.media.decode import read_frames
from avipipe.media.normalize import AUDIO_NAME, FPS, VIDEO_NAME, NormalizeConfig, normalize
from avipipe.media.probe import MediaInfo, probe
from avipipe.media.reference import Reference
from avipipe.media.sync import certify
from tests.integration.lavfi import (
    EVENTS_S,
    beeps_s,
    onsets,
    picture,
    remux,
    sound,
    turned,
    write,
)

CONFIG = NormalizeConfig(short_side_px=72, crf=10)
X265_PQ = (
    *("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-color_range", "tv"),
    *("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "smpte2084"),
    *("-x265-params", "log-level=error:colorprim=9:transfer=16:colormatrix=9:pools=1"),
)


@dataclass(frozen=True)
class Case:
    """How to write a source, the size expected of its clip, and how its clocks are off zero."""

    suffix: str = "mp4"
    video: str = picture()
    audio: str = sound()
    options: tuple[str, ...] = ()
    size: tuple[int, int] = (96, 72)
    video_offset_s: float = 0.0
    audio_offset_s: float = 0.0
    comparable: bool = True


CASES = {
    "24": Case(video=picture("24")),
    "25": Case(),
    "29.97": Case(video=picture("30000/1001")),
    "60": Case(video=picture("60")),
    "10": Case(video=picture("10")),
    "variable rate": Case(
        video=picture("50") + ",select='not(mod(n,2))+gt(t,2.02)'", options=("-fps_mode", "vfr")
    ),
    "SAR 4:3": Case(video=picture() + ",setsar=4/3", size=(128, 72)),
    "odd size": Case(video=picture(size="161x121"), options=("-pix_fmt", "yuv444p"), size=(96, 72)),
    "portrait": Case(video=picture(size="90x160"), size=(72, 128)),
    "ribbon": Case(video=picture(size="2000x20"), size=(2560, 26), comparable=False),
    "4:2:2": Case(options=("-pix_fmt", "yuv422p")),
    "full range": Case(options=("-pix_fmt", "yuvj420p", "-color_range", "pc")),
    "alpha": Case("mkv", picture() + ",format=rgba", options=("-c:v", "ffv1", "-pix_fmt", "bgra")),
    "interlaced": Case(
        video=picture("50") + ",tinterlace=mode=interleave_top",
        options=("-flags", "+ilme+ildct", "-x264opts", "tff=1"),
        comparable=False,
    ),
    "PQ": Case(options=X265_PQ, comparable=False),
    "5.1": Case("mkv", audio=sound(48_000, "5.1"), options=("-c:a", "flac")),
    "16 kHz mp3": Case("mkv", audio=sound(16_000), options=("-c:a", "libmp3lame")),
    "opus webm": Case("webm", options=("-c:v", "libvpx", "-b:v", "2M", "-c:a", "libopus")),
    "late sound": Case("mkv", audio_offset_s=0.35, options=("-c:a", "flac")),
    "late picture": Case("mkv", video_offset_s=0.36, options=("-c:a", "flac")),
    "short sound": Case(audio=sound(duration_s=3.36)),
    "short picture": Case(video=picture(duration_s=3.4)),
}


@pytest.mark.parametrize("name", CASES)
def test_all_kinds_become_one(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    source = write(
        tmp_path / f"source.{case.suffix}",
        video=case.video,
        audio=case.audio,
        video_offset_s=case.video_offset_s,
        audio_offset_s=case.audio_offset_s,
        options=case.options,
    )
    info = probe(source)
    written = normalize(source, info, start_s=0, end_s=4, folder=tmp_path, config=CONFIG)
    assert (written.num_frames, written.num_samples) == (96, 192_000)
    assert (written.width, written.height) == case.size
    assert_is_a_clip(tmp_path, written.num_frames, case.size)

    found = onsets(tmp_path / VIDEO_NAME)
    heard_s = beeps_s(flac(tmp_path)[0], 48_000)
    assert heard_s == pytest.approx([t + case.audio_offset_s for t in EVENTS_S], abs=3e-3)
    half_pictures_s = float(1 / FPS / 2 + 1 / info.video.fps / 2)
    expected_s = [t + case.video_offset_s for t in EVENTS_S]
    assert found.flashes_s == pytest.approx(expected_s, abs=half_pictures_s + 1e-3)
    # The AAC for players says the same as the reference.
    assert found.beeps_s == pytest.approx(heard_s, abs=2e-3)

    sync = certify(
        Reference.read(source, info, start_s=0.0, end_s=4.0),
        info,
        start_s=0.0,
        video=tmp_path / VIDEO_NAME,
        audio=tmp_path / AUDIO_NAME,
    )
    assert sync.method == "content"
    assert abs(sync.av_offset_ms) <= 21
    assert abs(sync.audio_offset_ms) <= 1
    assert (sync.wrong_picture_s, sync.wrong_sound_s) == (0, 0)
    if case.comparable:
        assert_same_pictures(source, info, 0, 4, tmp_path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "webm"])
@pytest.mark.parametrize("start_s", [0.52, 1.88])
def test_cuts_from_the_middle_keep_the_clock(tmp_path: Path, suffix: str, start_s: float) -> None:
    options = ["-g", "50", "-c:a", "libopus", "-b:a", "128k"]
    options += ["-c:v", "libvpx", "-b:v", "2M"] if suffix == "webm" else []
    options += ["-c:a", "aac"] if suffix == "ts" else []
    source = write(tmp_path / f"source.{suffix}", options=options)
    info = probe(source)
    normalize(source, info, start_s=start_s, end_s=start_s + 2, folder=tmp_path, config=CONFIG)
    inside_s = [t + info.video.start_s - start_s for t in EVENTS_S if start_s < t < start_s + 2]
    found = onsets(tmp_path / VIDEO_NAME)
    assert beeps_s(flac(tmp_path)[0], 48_000) == pytest.approx(inside_s, abs=3e-3)
    assert found.flashes_s == pytest.approx(inside_s, abs=0.042)
    assert_same_pictures(source, info, start_s, start_s + 2, tmp_path)


def test_a_stream_copied_cut_keeps_its_edit_list(tmp_path: Path) -> None:
    """Its timestamps begin before zero; players do not show what lies there."""
    whole = write(tmp_path / "whole.mp4", options=["-g", "20"])
    source = remux(tmp_path / "source.mp4", whole, "-ss", "0.5")
    info = probe(source)
    normalize(source, info, start_s=0, end_s=3, folder=tmp_path, config=CONFIG)
    reference = onsets(source, info=info)
    assert len(reference.flashes_s) == 3
    assert onsets(tmp_path / VIDEO_NAME).flashes_s == pytest.approx(reference.flashes_s, abs=1e-3)
    assert beeps_s(flac(tmp_path)[0], 48_000) == pytest.approx(reference.beeps_s, abs=3e-3)
    assert reference.beeps_s == pytest.approx(reference.flashes_s, abs=0.042)


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("hflip", [False, True])
def test_pictures_turn_as_the_decoder_turns_them(tmp_path: Path, degrees: int, hflip: bool) -> None:
    source = turned(
        tmp_path / "source.mp4", write(tmp_path / "a.mp4"), degrees=degrees, hflip=hflip
    )
    info = probe(source)
    written = normalize(source, info, start_s=0, end_s=1, folder=tmp_path, config=CONFIG)
    assert (written.width, written.height) == ((72, 96) if degrees % 180 else (96, 72))
    assert_same_pictures(source, info, 0, 1, tmp_path)


@pytest.mark.parametrize("matrix", ["smpte170m", "bt709", "unspecified"])
@pytest.mark.parametrize("size", ["160x120", "1280x720"])
def test_colours_stay(tmp_path: Path, matrix: str, size: str) -> None:
    """Red is red, whatever matrix says so; unsaid, it is the one usual for the size."""
    usual = "bt601" if size == "160x120" else "bt709"
    used = {"smpte170m": "bt601", "bt709": "bt709", "unspecified": usual}[matrix]
    red = f"color=0xC02040:s={size}:r=24:d=0.5,format=gbrp,scale=out_color_matrix={used}"
    tagged = f"{red},format=yuv420p,setparams=colorspace={matrix.replace('unspecified', 'unknown')}"
    source = write(tmp_path / "a.mkv", video=tagged, options=["-crf", "1"])
    info = probe(source)
    assert info.video.matrix == matrix
    normalize(source, info, start_s=0, end_s=0.5, folder=tmp_path, config=CONFIG)
    video = tmp_path / VIDEO_NAME
    frames = read_frames(video, probe(video), start_s=0, end_s=0.5, fps=FPS, height_px=72)
    assert frames.mean(axis=(0, 1, 2)) == pytest.approx([0xC0, 0x20, 0x40], abs=4)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4")
    digests = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        normalize(source, probe(source), start_s=1, end_s=2, folder=folder, config=CONFIG)
        files = [folder / VIDEO_NAME, folder / AUDIO_NAME]
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


def test_a_range_outside_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4")
    with pytest.raises(MediaError) as caught:
        normalize(source, probe(source), start_s=9, end_s=11, folder=tmp_path, config=CONFIG)
    assert caught.value.kind is FailKind.RANGE_OUTSIDE


def test_a_range_over_the_end_is_filled(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4")
    written = normalize(source, probe(source), start_s=3.5, end_s=5, folder=tmp_path, config=CONFIG)
    assert written.num_frames == 36
    video = tmp_path / VIDEO_NAME
    frames = read_frames(video, probe(video), start_s=0, end_s=1.5, fps=FPS, height_px=72)
    difference = np.abs(frames[13:].astype(int) - frames[13].astype(int))
    assert difference.mean() < 2
    assert not flac(tmp_path)[:, 30_000:].any()


def test_mono_is_doubled(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4")
    normalize(source, probe(source), start_s=0, end_s=2, folder=tmp_path, config=CONFIG)
    left, right = flac(tmp_path)
    assert np.array_equal(left, right)


def assert_is_a_clip(folder: Path, num_frames: int, size: tuple[int, int]) -> None:
    """What a sample promises, read without our own code."""
    with av.open(str(folder / VIDEO_NAME)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.codec_context.name == "h264"
        assert [frame.time for frame in frames] == [n / 24 for n in range(num_frames)]
        assert {frame.format.name for frame in frames} == {"yuv420p"}
        assert {(frame.width, frame.height) for frame in frames} == {size}
        assert {frame.rotation for frame in frames} == {0}
        assert (stream.sample_aspect_ratio or 1) == 1
        tags = {(f.colorspace, f.color_primaries, f.color_trc, f.color_range) for f in frames}
        assert tags == {(1, 1, 1, 1)}
        assert [s.codec_context.name for s in container.streams.audio] == ["aac"]
    assert flac(folder).shape == (2, num_frames * 2000)


def flac(folder: Path) -> npt.NDArray[np.float32]:
    with av.open(str(folder / AUDIO_NAME)) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 48_000
        waves = [frame.to_ndarray().reshape(-1, 2).T for frame in container.decode(audio=0)]
    return np.concatenate(waves, axis=1).astype(np.float32) / np.float32(32768)


def assert_same_pictures(
    source: Path, info: MediaInfo, start_s: float, end_s: float, folder: Path
) -> None:
    """Decoding the source and decoding the clip show the same, frame by frame."""
    video, num_s = folder / VIDEO_NAME, end_s - start_s
    expected = read_frames(source, info, start_s=start_s, end_s=end_s, fps=FPS, height_px=32)
    found = read_frames(video, probe(video), start_s=0, end_s=num_s, fps=FPS, height_px=32)
    difference = np.abs(expected.astype(int) - found).mean(axis=(1, 2, 3))
    # Coarser chroma costs up to 12 on this pattern; a wrong turn costs 50.
    assert difference.max() < 16
