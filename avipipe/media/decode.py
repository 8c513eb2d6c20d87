"""Decodes intervals of a file into arrays, on the clock of `avipipe.media.probe`: source time."""

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import av.filter
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace, Interpolation

from avipipe.errors import FailKind, MediaError
from avipipe.media import reader
from avipipe.media.probe import UNSPECIFIED, MediaInfo, VideoInfo, matrix_of
from avipipe.media.timeline import exact

# Timestamps of sound may stray this far from the count of samples before they are believed: less
# than what a clip may be off, more than what containers round (1 ms) and capture jitters.
_MAX_DRIFT_S = 0.008
_RESAMPLER_TAIL_S = 0.1
"""Read beyond the end, as a resampler gives the last samples only when more come."""
_COLORSPACES = {
    "bt709": Colorspace.ITU709,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
    "bt2020nc": Colorspace.BT2020,
    "bt2020c": Colorspace.BT2020,
}


def num_ticks(duration_s: float, rate: Fraction | int) -> int:
    """Number of frames or samples at `rate` in a duration: rounded, halves up."""
    return math.floor(exact(duration_s) * rate + Fraction(1, 2))


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
    """Read the pictures of `[start_s, end_s)` as (T, H, W, 3) RGB; see `iter_frames`."""
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
    shown = 0
    picture_HWC: npt.NDArray[np.uint8] | None = None
    frames = shown_frames(path, info, start_s=start_s, end_s=end_s, fps=fps)
    for tick, frame in frames:
        if picture_HWC is not None:
            for _ in range(shown, tick):
                yield picture_HWC
        picture_HWC = _convert(frame, info.video, size, "rgb24")
        shown = tick
    assert picture_HWC is not None, "something is shown"
    for _ in range(shown, num_ticks(end_s - start_s, fps)):
        yield picture_HWC


def shown_frames(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    fps: Fraction,
    reference: bool = False,
) -> Generator[tuple[int, av.VideoFrame], None, None]:
    """Yield the pictures that are shown in `[start_s, end_s)` at `fps`, each once.

    This is the one rule of which picture is shown when; evidence and clips both follow it.

    Args:
        reference: see `avipipe.media.reader.pictures`.
    Yields:
        the first frame of the output that shows it, strictly increasing from 0; and the picture
        as it is coded.
    Raises:
        MediaError: CORRUPT where most of the interval cannot be decoded.
    """
    count = num_ticks(end_s - start_s, fps)
    origin = exact(start_s)
    held: av.VideoFrame | None = None
    held_tick = 0
    with closing(reader.pictures(path, info, from_s=start_s, reference=reference)) as pictures:
        for time, frame in pictures:
            tick = math.floor((time - origin) * fps + Fraction(1, 2))
            if held is not None and tick > held_tick:
                yield held_tick, held
                if tick >= count:
                    return
                held_tick = tick
            held = frame
    if held is None:
        raise _undecodable(path, start_s, end_s)
    yield held_tick, held


def read_audio(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    sample_rate_hz: int,
    mono: bool,
    reference: bool = False,
) -> npt.NDArray[np.float32]:
    """Read the sound of `[start_s, end_s)`, sample-exact on the clock of the pictures.

    Returns:
        (C, N) float32 in [-1, 1], C = 1 if `mono` else 2, N = round(duration * rate); silence
        where the file has no sound.
    Raises:
        MediaError: CORRUPT where most of the interval cannot be decoded.
    """
    wave_CN = np.zeros((1 if mono else 2, num_ticks(end_s - start_s, sample_rate_hz)), np.float32)
    chunks = iter_sound(
        path,
        info,
        start_s=start_s,
        end_s=end_s,
        sample_rate_hz=sample_rate_hz,
        mono=mono,
        reference=reference,
    )
    for first, chunk_CN in chunks:
        wave_CN[:, first : first + chunk_CN.shape[1]] = chunk_CN
    return np.clip(wave_CN, -1, 1, out=wave_CN)


def iter_pictures(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    size: tuple[int, int],
    pix_fmt: Literal["gray", "rgb24", "bgr24"],
    reference: bool = False,
) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """Yield each picture as it was recorded, with the source time at which it appears.

    The first is the one on screen at `start_s`, the last the last that appears before `end_s`.

    Args:
        size: width and height of what is yielded, whatever the shape of the source.
        reference: see `avipipe.media.reader.pictures`.
    Yields:
        time and (H, W) or (H, W, 3) uint8 of `pix_fmt`, upright.
    """
    held: tuple[float, av.VideoFrame] | None = None
    with closing(reader.pictures(path, info, from_s=start_s, reference=reference)) as pictures:
        for time, frame in pictures:
            time_s = float(time)
            if held is not None and time_s > start_s:
                yield held[0], _convert(held[1], info.video, size, pix_fmt)
            if time_s >= end_s:
                return
            held = time_s, frame
    if held is not None:
        yield held[0], _convert(held[1], info.video, size, pix_fmt)


def iter_sound(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    sample_rate_hz: int,
    mono: bool,
    reference: bool = False,
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield the sound of `[start_s, end_s)` in pieces, as it is decoded.

    Pieces lie within the interval; they may leave gaps, or overlap: a later one then replaces what
    came before.

    Yields:
        the number of samples at `sample_rate_hz` from `start_s` to a piece, and the piece (C, N).
    """
    length = num_ticks(end_s - start_s, sample_rate_hz)
    resampler: _Resampler | None = None
    form: tuple[object, ...] = ()
    run_start, num_in, num_out = Fraction(0), 0, 0
    origin = exact(start_s)

    def emit(frame: av.AudioFrame | None) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        nonlocal num_out
        for out_CN in resampler.resample(frame) if resampler else ():
            time = run_start + Fraction(num_out, sample_rate_hz)
            num_out += out_CN.shape[1]
            at = math.floor((time - origin) * sample_rate_hz + Fraction(1, 2))
            first, last = max(at, 0), min(at + out_CN.shape[1], length)
            if last > first:
                yield first, out_CN[:, first - at : last - at]

    with closing(reader.sound(path, info, from_s=start_s, reference=reference)) as frames:
        for time, frame in frames:
            if time > end_s + _RESAMPLER_TAIL_S:
                break
            drift = abs(time - run_start - Fraction(num_in, frame.sample_rate))
            frame_form = (frame.format.name, frame.layout.name, frame.sample_rate)
            # Where a tick is longer than that, the timestamps are the ones that are off.
            if frame_form != form or drift > max(_MAX_DRIFT_S, frame.time_base or 0):
                yield from emit(None)
                resampler = _Resampler(frame, sample_rate_hz, "mono" if mono else "stereo")
                form, run_start, num_in, num_out = frame_form, time, 0, 0
            num_in += frame.samples
            yield from emit(frame)
    yield from emit(None)


class _Resampler:
    """From the form of one frame of sound to another rate and layout.

    A mix of many channels is scaled so that it cannot clip, as ffmpeg's command does for integers.
    """

    def __init__(self, frame: av.AudioFrame, sample_rate_hz: int, layout: str) -> None:
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        )
        options = f"osr={sample_rate_hz}:ochl={layout}:osf=fltp:rematrix_maxval=1"
        resampled = self._graph.add("aresample", options)
        source.link_to(resampled)
        resampled.link_to(self._graph.add("abuffersink"))
        self._graph.configure()
        self._num_in = 0

    def resample(self, frame: av.AudioFrame | None) -> Iterator[npt.NDArray[np.float32]]:
        """Resample a frame of sound to (C, N); None drains what is left."""
        if frame is not None:
            frame.pts, frame.time_base = self._num_in, Fraction(1, frame.sample_rate)
            self._num_in += frame.samples
        self._graph.push(frame)
        while True:
            try:
                out = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(out, av.AudioFrame)
            yield out.to_ndarray().astype(np.float32, copy=False)


def _convert(
    frame: av.VideoFrame, video: VideoInfo, size: tuple[int, int], pix_fmt: str
) -> npt.NDArray[np.uint8]:
    is_turned = video.rotation_deg % 180 == 90
    width, height = size[::-1] if is_turned else size
    picture = frame.reformat(
        width=width,
        height=height,
        format=pix_fmt,
        src_colorspace=colorspace(frame, video),
        interpolation=Interpolation.AREA,
        threads=1,
    ).to_ndarray()
    picture = np.rot90(picture, -video.rotation_deg // 90)
    return np.ascontiguousarray(picture[:, ::-1] if video.mirrored else picture)


def colorspace(frame: av.VideoFrame | None, video: VideoInfo) -> Colorspace:
    """Colour matrix of a picture: by its own tag, as tags may change midway, else the video's."""
    own = UNSPECIFIED if frame is None else matrix_of(frame)
    name = video.assumed_matrix if own == UNSPECIFIED else own
    return _COLORSPACES.get(name, Colorspace.ITU601)


def _even(length: Fraction) -> int:
    return max(2, 2 * round(length / 2))


def _undecodable(path: Path, start_s: float, end_s: float) -> MediaError:
    message = f"expected pictures in {start_s:.3f}-{end_s:.3f} s of {path}, found none"
    return MediaError(FailKind.CORRUPT, message)
