"""Decodes a part of a sample: pictures, masks and sound of the very same frames."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
import scipy.signal
from av.container import InputContainer
from av.video.reformatter import Colorspace, Interpolation

from avipipe.annotators.base import HEARING_HZ
from avipipe.errors import ManifestError
from avipipe.manifests.samples import FPS
from avipipe.media.container import open_bytes
from avipipe.media.normalize import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

Frames = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]
Wave = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

"""What wav2vec2 hears at."""

_DOWN = SAMPLE_RATE_HZ // HEARING_HZ
_MARGIN = 64 * _DOWN
"""Samples around a part that the low-pass filter may look at; it is shorter."""


@dataclass(frozen=True, slots=True)
class Take:
    """A part of a clip: frames, and where they are cut out of the scaled picture.

    Attributes:
        scaled_px: height and width of the whole picture when scaled.
        top_px, left_px: of what is cut out, in the scaled picture.
        height_px, width_px: of what is cut out.
    """

    start: int
    num_frames: int
    scaled_px: tuple[int, int]
    top_px: int
    left_px: int
    height_px: int
    width_px: int

    @property
    def frames(self) -> range:
        """The frames of the clip."""
        return range(self.start, self.start + self.num_frames)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the scaled picture."""
        return (
            slice(self.top_px, self.top_px + self.height_px),
            slice(self.left_px, self.left_px + self.width_px),
        )


def covering_size(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a scaled picture that just covers a size; all are (height, width)."""
    height, width = shape
    if size[0] * width >= size[1] * height:
        return size[0], max(size[1], round(width * size[0] / height))
    return max(size[0], round(height * size[1] / width)), size[1]


def decode_frames(content: bytes, take: Take, *, where: str) -> Frames:
    """The pictures of a take, (F, H, W, 3) RGB, decoded from the key frame before it on.

    Args:
        content: of an `mp4`, frame n at n/24 s.
        where: it comes from, for errors.
    Raises:
        ManifestError: it cannot be decoded, or its frames are not all there.
    """
    frames_FHWC = np.empty((take.num_frames, take.height_px, take.width_px, 3), np.uint8)
    expected = take.start
    with _opened(content, where) as container:
        for frame in _frames_from(container, take.start):
            assert frame.time is not None
            number = round(frame.time * FPS)
            if number < take.start:
                continue
            if number != expected:
                break
            picture_HWC = _scaled(frame, take.scaled_px)
            frames_FHWC[number - take.start] = picture_HWC[take.window]
            expected += 1
            if expected == take.frames.stop:
                return frames_FHWC
    raise ManifestError(
        f"{where}: expected frames {take.start} to {take.frames.stop - 1}, found none at "
        f"{expected}; run `avipipe verify`, and publish it again"
    )


def decode_sound(content: bytes, frames: range, *, where: str) -> Wave:
    """The sound of frames, mono (N,) float32 in [-1, 1] at 16 kHz; sample k at k/16000 s of it.

    Args:
        content: of a `flac` of 48 kHz, sample 2000 n at frame n.
    Raises:
        ManifestError: it cannot be decoded, or is too short.
    """
    wave_N = _mono(content, where)
    first, end = (frame * SAMPLES_PER_FRAME for frame in (frames.start, frames.stop))
    if end > len(wave_N):
        raise ManifestError(
            f"{where}: expected at least {end} samples, found {len(wave_N)}; run `avipipe verify`, "
            "and publish it again"
        )
    part_N = np.pad(wave_N, _MARGIN)[first : end + 2 * _MARGIN]
    heard_N = scipy.signal.resample_poly(part_N, 1, _DOWN)
    lead = _MARGIN // _DOWN
    wanted = math.ceil((end - first) / _DOWN)
    return np.clip(heard_N[lead : lead + wanted], -1, 1).astype(np.float32)


def cut_mask(mask_HW: Masks, take: Take, cell_px: int) -> Masks:
    """A mask as cells of the cut-out: one is in if any pixel under it, however little, is.

    Args:
        mask_HW: fastest where columns lie in one piece, as masks are coded.
    Returns:
        (height_px / cell_px, width_px / cell_px).
    """
    (height, width), cell = take.scaled_px, cell_px
    columns = _reduced(mask_HW.T, take.left_px, take.width_px, width, cell)
    return _reduced(columns.T, take.top_px, take.height_px, height, cell)


def under(offset_px: Ints, length_px: int, scaled_px: int, num_pixels: int) -> tuple[Ints, Ints]:
    """The first and the last of `num_pixels` of which something is under a stretch of them scaled.

    Args:
        offset_px, length_px: of the stretch, in `scaled_px`.
    """
    first = offset_px * num_pixels // scaled_px
    last = -(-(offset_px + length_px) * num_pixels // scaled_px) - 1
    return first, last


def _reduced(mask_NM: Masks, offset_px: int, length_px: int, scaled_px: int, cell: int) -> Masks:
    """Along the first axis."""
    offsets = np.arange(offset_px, offset_px + length_px, cell)
    first, last = under(offsets, cell, scaled_px, len(mask_NM))
    reduced = mask_NM[first]
    for step in range(1, int((last - first).max()) + 1):
        reduced |= mask_NM[np.minimum(first + step, last)]
    return reduced


def _frames_from(container: InputContainer, start: int) -> Iterator[av.VideoFrame]:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    assert stream.time_base is not None
    if start:
        container.seek(int(start / FPS / stream.time_base), stream=stream)
    yield from container.decode(stream)


def _scaled(frame: av.VideoFrame, size: tuple[int, int]) -> Frames:
    height, width = size
    shrinks = height * width < frame.height * frame.width
    picture = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=Colorspace.ITU709,
        interpolation=Interpolation.AREA if shrinks else Interpolation.BICUBIC,
        threads=1,
    )
    return np.asarray(picture.to_ndarray(), np.uint8)


def _mono(content: bytes, where: str) -> Wave:
    parts = []
    with _opened(content, where) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        to_float = av.AudioResampler(format="fltp")
        for frame in container.decode(stream):
            if frame.sample_rate != SAMPLE_RATE_HZ:
                raise ManifestError(
                    f"{where}: expected {SAMPLE_RATE_HZ} Hz, found {frame.sample_rate}; publish it "
                    "again"
                )
            parts += [part.to_ndarray().mean(axis=0) for part in to_float.resample(frame)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


@contextmanager
def _opened(content: bytes, where: str) -> Iterator[InputContainer]:
    try:
        with open_bytes(io.BytesIO(content)) as container:
            yield container
    except (av.FFmpegError, IndexError) as error:
        raise ManifestError(
            f"{where}: cannot be decoded: {error}; run `avipipe verify`, and publish it again"
        ) from error
