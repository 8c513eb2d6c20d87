"""Turns an interval of any file into the two files of a sample, in one run of ffmpeg.

ffmpeg filters and encodes; it never opens the source. Pictures and sound come decoded from
`avipipe.media.decode`, which everything else that looks at a source reads from, too.
"""

import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from avipipe.errors import FailKind, MediaError
from avipipe.media.container import open_media
from avipipe.media.crop import WHOLE, Crop, Shares
from avipipe.media.decode import num_ticks, read_audio, scaled_size, shown_frames
from avipipe.media.feed import PictureFeed, is_full_range
from avipipe.media.ffmpeg import ToolRun, run
from avipipe.media.probe import MediaInfo, VideoInfo

FPS = Fraction(24)
SAMPLE_RATE_HZ = 48_000
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS
"""2000: sound and picture of a sample end together."""
VIDEO_NAME = "video.mp4"
AUDIO_NAME = "audio.flac"

_SWSCALE_MATRICES = {
    "bt709": "bt709",
    "fcc": "fcc",
    "bt470bg": "bt601",
    "smpte170m": "bt601",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
}
_COLOUR_TAGS = ("color_primaries", "color_trc", "colorspace")
_BITEXACT = {"fflags": "+bitexact", "map_metadata": -1, "map_chapters": -1}
"""No versions, tags or chapters, so that the same clip gives the same bytes."""


class NormalizeConfig(BaseModel):
    """Encoding of clips. The bytes of a shard depend on every field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    short_side_px: int = Field(720, ge=64, description="short side of the picture")
    max_long_side_px: int = Field(
        2560, ge=64, description="cap of the long side; only wider pictures get a smaller short one"
    )
    preset: str = Field("veryfast", description="libx264's preset")
    crf: int = Field(17, ge=0, le=51, description="libx264's constant rate factor")
    audio_kbps: int = Field(128, ge=32, description="bit rate of the AAC that is for players")
    threads: int = Field(1, ge=1, description="threads of the encoder")
    timeout_factor: float = Field(60.0, gt=0, description="time limit per second of clip")


@dataclass(frozen=True, slots=True)
class Normalized:
    """Files of a clip. `num_samples` is exactly `2000 * num_frames`; `crop` is what was kept."""

    num_frames: int
    num_samples: int
    width: int
    height: int
    duration_s: float
    crop: Shares
    run: ToolRun


def normalize(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    folder: Path,
    config: NormalizeConfig,
    content: Shares = WHOLE,
    reference: bool = False,
) -> Normalized:
    """Write `video.mp4` and `audio.flac` of `[start_s, end_s)` in source time into `folder`.

    The video is H.264, yuv420p, 24 fps, upright, in square pixels, BT.709, without B-frames, so
    that frame n is at n/24 s even for readers that know no edit lists; its AAC track is for
    players. The FLAC is the reference: 16 bit, 48 kHz, always two channels (mono is doubled, more
    are mixed down), sample 2000 n at frame n. Repeated pictures and silence fill what is missing.
    The same input gives the same bytes.

    Args:
        content: what of the upright picture to keep.
        reference: read the source the slow and sure way; see `avipipe.media.reader.pictures`.
    Raises:
        MediaError: RANGE_OUTSIDE, TOOL_FAILED, TIMEOUT, or CORRUPT where the source cannot be
            decoded or the result is not what it must be.
    """
    if start_s >= info.duration_s or end_s <= 0:
        message = f"expected a part of {info.duration_s:.3f} s, found {start_s:.3f}-{end_s:.3f} s"
        raise MediaError(FailKind.RANGE_OUTSIDE, message)
    num_frames = num_ticks(end_s - start_s, FPS)
    num_samples = num_frames * SAMPLES_PER_FRAME
    crop = Crop.within(info.video, content)
    size = scaled_size(
        crop.of(info.video),
        config.short_side_px,
        upscale=True,
        max_long_side_px=config.max_long_side_px,
    )
    frames = shown_frames(path, info, start_s=start_s, end_s=end_s, fps=FPS, reference=reference)
    with closing(frames), tempfile.TemporaryFile() as sound:
        wave_CN = read_audio(
            path,
            info,
            start_s=start_s,
            end_s=start_s + float(num_frames / FPS),
            sample_rate_hz=SAMPLE_RATE_HZ,
            mono=False,
            reference=reference,
        )
        sound.write(np.ascontiguousarray(wave_CN.T).tobytes())
        sound.seek(0)
        pictures, fed = os.pipe()
        inputs = (pictures, os.dup(sound.fileno()))
        args = _command(info.video, crop, *inputs, num_frames, size, folder, config)
        finished = run(
            args,
            timeout_s=60.0 + config.timeout_factor * (end_s - start_s),
            cpus=config.threads,
            inputs=inputs,
            feed=PictureFeed(frames, info.video, fps=FPS, pipe=fed),
        )
    _check_video(folder / VIDEO_NAME, num_frames, size, finished)
    _check_audio(folder / AUDIO_NAME, num_samples, finished)
    return Normalized(
        num_frames,
        num_samples,
        *size,
        float(num_frames / FPS),
        crop.shares(info.video),
        finished,
    )


def _command(
    video: VideoInfo,
    crop: Crop,
    pictures: int,
    sound: int,
    num_frames: int,
    size: tuple[int, int],
    folder: Path,
    config: NormalizeConfig,
) -> list[str]:
    """The arguments that encode pictures and sound, decoded, from two file descriptors."""
    seen = ffmpeg.input(f"pipe:{pictures}", format="nut").video
    heard = ffmpeg.input(
        f"pipe:{sound}", format="f32le", ar=SAMPLE_RATE_HZ, ch_layout="stereo"
    ).audio
    sounds = heard.filter_multi_output("asplit")
    written = ffmpeg.output(
        _picture(seen, video, crop, num_frames, size),
        sounds[0],
        f"file:{folder / VIDEO_NAME}",
        format="mp4",
        movflags="+faststart",
        **{"c:v": "libx264", "flags:v": "+bitexact", "threads:v": config.threads},
        preset=config.preset,
        crf=config.crf,
        g=int(FPS),
        bf=0,
        **{"c:a": "aac", "flags:a": "+bitexact", "b:a": f"{config.audio_kbps}k"},
        **_BITEXACT,
    )
    audio = ffmpeg.output(
        sounds[1].filter("aformat", sample_fmts="s16"),
        f"file:{folder / AUDIO_NAME}",
        format="flac",
        **{"c:a": "flac", "flags:a": "+bitexact"},
        **_BITEXACT,
    )
    return list(ffmpeg.merge_outputs(written, audio).compile()[1:])


def _picture(
    picture: Any, video: VideoInfo, crop: Crop, num_frames: int, size: tuple[int, int]
) -> Any:
    """The graph of the pictures. The dear filters come before those that repeat."""
    turns = video.rotation_deg // 90
    coded = size[::-1] if turns % 2 else size
    if not crop.is_whole(video):
        picture = picture.filter("crop", crop.width, crop.height, crop.left, crop.top)
    scaled = _tone_mapped if video.is_hdr else _scaled
    picture = scaled(picture, video, coded)
    for _ in range(turns):
        picture = picture.filter("transpose", "clock")
    if video.mirrored:
        picture = picture.filter("hflip")
    return (
        picture.filter("fps", fps=str(FPS), start_time=0, round="near")
        .filter("tpad", stop=num_frames, stop_mode="clone")
        .filter("trim", end_frame=num_frames)
        .filter("setsar", 1)
        .filter("format", "yuv420p")
        .filter(
            "setparams", range="tv", color_primaries="bt709", color_trc="bt709", colorspace="bt709"
        )
    )


def _scaled(picture: Any, video: VideoInfo, size: tuple[int, int]) -> Any:
    options = {"flags": "lanczos+accurate_rnd", "out_color_matrix": "bt709", "out_range": "tv"}
    options["in_range"] = "pc" if is_full_range(video) else "tv"
    matrix = _SWSCALE_MATRICES.get(video.assumed_matrix)
    if matrix is not None:
        options["in_color_matrix"] = matrix
    return picture.filter("scale", *size, **options)


def _tone_mapped(picture: Any, video: VideoInfo, size: tuple[int, int]) -> Any:
    """From BT.2020 PQ or HLG to BT.709. Pictures from a pipe have no tags: they are given here."""
    tags = {"color_trc": video.trc, "colorspace": "bt2020nc", "color_primaries": "bt2020"}
    return (
        picture.filter("setparams", range="pc" if is_full_range(video) else "tv", **tags)
        .filter("scale", *size, flags="lanczos+accurate_rnd")
        .filter("zscale", t="linear", npl=100)
        .filter("format", "gbrpf32le")
        .filter("zscale", p="bt709")
        .filter("tonemap", tonemap="hable", desat=0)
        .filter("zscale", t="bt709", m="bt709", r="tv")
    )


def _check_video(path: Path, num_frames: int, size: tuple[int, int], finished: ToolRun) -> None:
    with open_media(path) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None, "what comes out of a demuxer has a time base"
        times = sorted(
            packet.pts * stream.time_base
            for packet in container.demux(stream)
            if packet.pts is not None
        )
        codec = stream.codec_context
        found = (
            codec.width,
            codec.height,
            codec.pix_fmt,
            Fraction(stream.sample_aspect_ratio or 1),
        )
    if times != [n / FPS for n in range(num_frames)]:
        raise _wrong(path, f"{num_frames} pictures, one each 1/24 s", f"{len(times)}", finished)
    expected = (*size, "yuv420p", Fraction(1))
    if found != expected:
        raise _wrong(path, str(expected), str(found), finished)


def _check_audio(path: Path, num_samples: int, finished: ToolRun) -> None:
    with open_media(path) as container:
        stream = container.streams.audio[0]
        found = sum(packet.duration or 0 for packet in container.demux(stream))
        rate_hz = stream.codec_context.sample_rate
    if (found, rate_hz) != (num_samples, SAMPLE_RATE_HZ):
        what = f"{num_samples} samples at {SAMPLE_RATE_HZ} Hz"
        raise _wrong(path, what, f"{found} at {rate_hz} Hz", finished)


def _wrong(path: Path, expected: str, found: str, finished: ToolRun) -> MediaError:
    message = f"expected {expected} in the {path.name} just written, found {found}"
    return MediaError(FailKind.CORRUPT, message, log_tail=finished.log_tail)
