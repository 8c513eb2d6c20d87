"""Decodes intervals of a file into arrays, on the clock of `avipipe.media.probe`: source time."""

import logging
import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.reformatter import Colorspace, Interpolation

from avipipe.errors import FailKind, MediaError
from avipipe.media.probe import AudioInfo, MediaInfo, VideoInfo, open_media

_Frame = av.VideoFrame | av.AudioFrame
_Stream = av.VideoStream | av.AudioStream

logger = logging.getLogger(__name__)

MAX_GAP_S = 0.02
"""Audio timestamps may stray this far from the count of samples before they are believed."""

_AUDIO_LEAD_S = 0.5
_RESAMPLER_TAIL_S = 0.1
_SEEK_LEADS_S = (0.0, 2.0, 10.0, math.inf)
_MAX_LOST_PACKETS = 48
_MAX_LOST_S = 1.0
_COLORSPACES = {
    "bt709": Colorspace.ITU709,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
    "bt2020nc": Colorspace.BT2020,
    "bt2020c": Colorspace.BT2020,
}


def num_ticks(duration_s: float, rate: Fraction | int) -> int:
    """How many frames or samples at `rate` a duration holds: rounded, halves up."""
    return math.floor(_exact(duration_s) * rate + Fraction(1, 2))


def scaled_size(
    video: VideoInfo,
    short_side_px: int,
    *,
    upscale: bool = False,
    max_long_side_px: int | None = None,
) -> tuple[int, int]:
    """Width and height, both even, of the upright picture in square pixels.

    The short side is `short_side_px`, less where the source has less (unless `upscale`), or where
    the long side would pass `max_long_side_px`.
    """
    width, height = video.shape
    scale = short_side_px / min(width, height)
    if not upscale:
        scale = min(scale, Fraction(1))
    if max_long_side_px is not None:
        scale = min(scale, max_long_side_px / max(width, height))
    return _even(width * scale), _even(height * scale)


def read_frames(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    fps: Fraction,
    height_px: int,
    upscale: bool = False,
) -> npt.NDArray[np.uint8]:
    """The pictures of `[start_s, end_s)` as (T, H, W, 3) RGB; see `iter_frames`."""
    width, height = scaled_size(info.video, height_px, upscale=upscale)
    count = num_ticks(end_s - start_s, fps)
    frames_THWC = np.empty((count, height, width, 3), np.uint8)
    frames = iter_frames(
        path, info, start_s=start_s, end_s=end_s, fps=fps, height_px=height_px, upscale=upscale
    )
    for index, frame_HWC in enumerate(frames):
        frames_THWC[index] = frame_HWC
    return frames_THWC


def iter_frames(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    fps: Fraction,
    height_px: int,
    upscale: bool = False,
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the pictures of `[start_s, end_s)` at `fps`, one at a time.

    Frame n is the picture on screen in the middle of its interval, at `start_s + (n + 1/2) / fps`:
    on average neither early nor late, and what ffmpeg's `fps=round=near` picks. Where the video
    starts later or ends earlier, its first or last picture is repeated.

    Args:
        height_px: the short side; a source with fewer pixels is not enlarged unless `upscale`.
    Yields:
        (H, W, 3) uint8 RGB, upright, in square pixels, with even sides; T = round(duration * fps).
        The same array may be yielded several times: copy before you change it.
    Raises:
        MediaError: CORRUPT where most of the interval cannot be decoded.
    """
    size = scaled_size(info.video, height_px, upscale=upscale)
    count = num_ticks(end_s - start_s, fps)
    origin = _exact(start_s) + _exact(info.start_s)
    emitted = 0
    shown: av.VideoFrame | None = None
    with closing(_decoded(path, info, info.video, from_s=start_s)) as frames:
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            index = math.floor((_time(frame) - origin) * fps + Fraction(1, 2))
            shown = shown or frame
            if index > emitted:
                picture_HWC = _convert(shown, info.video, size, "rgb24")
                for _ in range(emitted, min(index, count)):
                    yield picture_HWC
                emitted = index
            if emitted >= count:
                return
            shown = frame
    if shown is None:
        raise _undecodable(path, start_s, end_s)
    picture_HWC = _convert(shown, info.video, size, "rgb24")
    for _ in range(emitted, count):
        yield picture_HWC


def read_audio(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    sample_rate_hz: int,
    mono: bool,
) -> npt.NDArray[np.float32]:
    """The sound of `[start_s, end_s)`, sample-exact on the clock of the pictures.

    Returns:
        (C, N) float32 in [-1, 1], C = 1 if `mono` else 2, N = round(duration * rate); silence
        where the file has no sound.
    Raises:
        MediaError: CORRUPT where most of the interval cannot be decoded.
    """
    wave_CN = np.zeros((1 if mono else 2, num_ticks(end_s - start_s, sample_rate_hz)), np.float32)
    for time, chunk_CN in _resampled(path, info, start_s, end_s, sample_rate_hz, mono):
        first = math.floor((time - _exact(start_s)) * sample_rate_hz + Fraction(1, 2))
        last = min(first + chunk_CN.shape[1], wave_CN.shape[1])
        if last > max(first, 0):
            wave_CN[:, max(first, 0) : last] = chunk_CN[:, max(first, 0) - first : last - first]
    return np.clip(wave_CN, -1, 1, out=wave_CN)


def iter_pictures(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    size: tuple[int, int],
    pix_fmt: Literal["gray", "rgb24", "bgr24"],
) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """Yield each picture as it was recorded, with the source time at which it appears.

    The first is the one on screen at `start_s`, the last the last that appears before `end_s`.

    Args:
        size: width and height of what is yielded, whatever the shape of the source.
    Yields:
        time and (H, W) or (H, W, 3) uint8 of `pix_fmt`, upright.
    """
    origin = _exact(info.start_s)
    held: tuple[float, av.VideoFrame] | None = None
    with closing(_decoded(path, info, info.video, from_s=start_s)) as frames:
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            time_s = float(_time(frame) - origin)
            if held is not None and time_s > start_s:
                yield held[0], _convert(held[1], info.video, size, pix_fmt)
            if time_s >= end_s:
                return
            held = time_s, frame
    if held is not None:
        yield held[0], _convert(held[1], info.video, size, pix_fmt)


def _resampled(
    path: Path, info: MediaInfo, start_s: float, end_s: float, sample_rate_hz: int, mono: bool
) -> Iterator[tuple[Fraction, npt.NDArray[np.float32]]]:
    """Chunks of sound at the wanted rate, each with its source time."""
    origin = _exact(info.start_s)
    resampler: av.AudioResampler | None = None
    form: tuple[object, ...] = ()
    run_start, num_in, num_out = Fraction(0), 0, 0

    def emit(frame: av.AudioFrame | None) -> Iterator[tuple[Fraction, npt.NDArray[np.float32]]]:
        nonlocal num_out
        for out in resampler.resample(frame) if resampler else ():
            yield (
                run_start + Fraction(num_out, sample_rate_hz),
                out.to_ndarray().astype(np.float32, copy=False),
            )
            num_out += out.samples

    with closing(_decoded(path, info, info.audio, from_s=start_s - _AUDIO_LEAD_S)) as frames:
        for frame in frames:
            assert isinstance(frame, av.AudioFrame)
            expected = run_start + Fraction(num_in, frame.sample_rate)
            time = _time(frame) - origin
            if time > end_s + _RESAMPLER_TAIL_S:
                break
            frame_form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if frame_form != form or abs(time - expected) > MAX_GAP_S:
                yield from emit(None)
                layout = "mono" if mono else "stereo"
                resampler = av.AudioResampler(format="fltp", layout=layout, rate=sample_rate_hz)
                form, run_start, num_in, num_out = frame_form, time, 0, 0
            num_in += frame.samples
            yield from emit(frame)
    yield from emit(None)


def _decoded(
    path: Path, info: MediaInfo, stream_info: VideoInfo | AudioInfo, *, from_s: float
) -> Generator[_Frame, None, None]:
    """Frames with timestamps, in order, from the one that is on at `from_s`.

    A seek may land late: on streams without an index, or where decoding needs earlier packets.

    Raises:
        MediaError: CORRUPT where the pictures end long before they should.
    """
    if isinstance(stream_info, AudioInfo) and from_s >= stream_info.end_s:
        return
    origin = _exact(info.start_s)
    for lead_s in _SEEK_LEADS_S:
        is_last = from_s - lead_s <= stream_info.start_s
        seek = None if is_last else _exact(from_s - lead_s) + origin
        with (
            open_media(path) as container,
            closing(_frames_from(container, stream_info.index, seek)) as frames,
        ):
            frame = next(frames, None)
            if frame is not None and (is_last or _time(frame) - origin <= from_s):
                yield frame
                for frame in frames:
                    yield frame
                if isinstance(stream_info, VideoInfo):
                    _check_reach(path, float(_time(frame) - origin), from_s, stream_info)
                return
        if is_last:
            return


def _check_reach(path: Path, reached_s: float, from_s: float, video: VideoInfo) -> None:
    """A stretch that gives no packets at all, as in an overwritten file, ends like a short file."""
    if reached_s < (from_s + video.last_s) / 2 - _MAX_LOST_S:
        raise MediaError(
            FailKind.CORRUPT,
            f"expected pictures until {video.last_s:.3f} s of {path}, found none after "
            f"{reached_s:.3f} s: the file is damaged",
        )


def _frames_from(
    container: InputContainer, index: int, seek: Fraction | None
) -> Generator[_Frame, None, None]:
    """Decode one stream from the key frame before `seek` (in container time), or from its start.

    Raises:
        MediaError: CORRUPT where most packets give nothing.
    """
    stream = container.streams[index]
    assert isinstance(stream, _Stream)
    stream.codec_context.thread_count = 1
    num_packets = num_good = 0
    last_time: Fraction | None = None
    try:
        if seek is not None:
            container.seek(math.floor(seek / _time_base(stream)), stream=stream)
        for packet in container.demux(stream):
            # A seek in a format without an index lands anywhere.
            if num_packets == 0 and seek is not None and not packet.is_keyframe:
                continue
            num_packets += 1
            for frame in _decode_packet(packet):
                num_good += not frame.is_corrupt
                if frame.pts is None:
                    frame.pts = frame.dts
                if frame.pts is None or (last_time is not None and _time(frame) <= last_time):
                    continue
                last_time = _time(frame)
                yield frame
            if num_packets - num_good > num_good + _MAX_LOST_PACKETS:
                message = f"expected pictures and sound, found most packets of {container.name} "
                raise MediaError(FailKind.CORRUPT, message + f"around {last_time} s undecodable")
    except av.FFmpegError as error:
        logger.info("%s: reading ended early: %s", container.name, error)


def _decode_packet(packet: "av.Packet[Any]") -> Sequence[_Frame]:
    try:
        return packet.decode()
    except av.FFmpegError as error:
        logger.debug("packet at %s: %s", packet.pts, error)
        return []


def _convert(
    frame: av.VideoFrame, video: VideoInfo, size: tuple[int, int], pix_fmt: str
) -> npt.NDArray[np.uint8]:
    is_turned = video.rotation_deg % 180 == 90
    width, height = size[::-1] if is_turned else size
    picture = frame.reformat(
        width=width,
        height=height,
        format=pix_fmt,
        src_colorspace=_COLORSPACES.get(video.assumed_matrix, Colorspace.ITU601),
        interpolation=Interpolation.AREA,
        threads=1,
    ).to_ndarray()
    picture = np.rot90(picture, -video.rotation_deg // 90)
    return np.ascontiguousarray(picture[:, ::-1] if video.mirrored else picture)


def _exact(seconds: float) -> Fraction:
    """To the microsecond, so that 0.1 means a tenth."""
    return Fraction(round(seconds * 1_000_000), 1_000_000)


def _time_base(thing: _Frame | _Stream) -> Fraction:
    assert thing.time_base is not None, "what comes out of a demuxer has a time base"
    return thing.time_base


def _time(frame: _Frame) -> Fraction:
    assert frame.pts is not None, "frames without a timestamp are left out"
    return frame.pts * _time_base(frame)


def _even(length: Fraction) -> int:
    return max(2, 2 * round(length / 2))


def _undecodable(path: Path, start_s: float, end_s: float) -> MediaError:
    message = f"expected pictures in {start_s:.3f}-{end_s:.3f} s of {path}, found none"
    return MediaError(FailKind.CORRUPT, message)
