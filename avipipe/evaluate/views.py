"""What metrics look at: the pictures and the sound of a file in a few fixed forms.

The pictures of a file are decoded once, for both forms in which they are held. All pictures are
those on show at 24 a second, on the clock of each file's first picture, so that source and edit are
compared by time whatever their rates.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.media.crop import WHOLE, Shares
from avipipe.media.decode import iter_frames, iter_pictures, num_ticks, read_audio
from avipipe.media.dubbed import Dubbed, dubbed

Frames = npt.NDArray[np.uint8]
Waves = npt.NDArray[np.float32]
Sizes = tuple[tuple[int, int], tuple[int, int]]
Features = npt.NDArray[np.floating[Any]]
"""What is measured of a file once and kept: a curve over time, embeddings."""

VIEWS_VERSION = 1
"""Raised whenever the same file would give other arrays, so that no stored score is stale."""

FPS = Fraction(24)
"""Of all pictures: the rate of datasets and edits here; slower and faster files are sampled."""
DETAIL_STEP = 8
"""Every so many pictures one is held in detail, as FiVE-Bench samples for preservation."""
DETAIL_PX = 480
"""Short side of pictures in detail: what FlowAnchor and FiVE-Bench edit and measure at."""
MOTION_PX = 240
"""Short side of all pictures, for motion: DIS finds flow of a few pixels there, in 4 ms."""
MAX_S = 20.0
"""How much of a file is looked at: twice the mean clip of AVISET. With it a file takes at most
480 pictures of 240x600 and 60 of 480x1200: 0.31 GB. Longer ones are measured so far, which their
scores say."""
_MAX_ASPECT = 2.5
"""Wider pictures have a smaller short side, so that the bound of the memory holds."""


def size_within(shape: tuple[float, float], short_px: int) -> tuple[int, int]:
    """Width and height, even, of a picture of some shape in a view; nothing is enlarged."""
    width, height = shape
    short, long = min(shape), max(shape)
    scale = min(1.0, short_px / short, _MAX_ASPECT * short_px / long)
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a file in both forms.

    Attributes:
        motion_THWC: uint8 RGB, T at `FPS`, short side at most `MOTION_PX`.
        detail_THWC: uint8 RGB, every `DETAIL_STEP`-th of them, short side at most `DETAIL_PX`.
    """

    motion_THWC: Frames
    detail_THWC: Frames

    def first(self, num_frames: int) -> "Pictures":
        """Only so many of the pictures."""
        return Pictures(
            self.motion_THWC[:num_frames], self.detail_THWC[: -(-num_frames // DETAIL_STEP)]
        )

    def frozen(self) -> "Pictures":
        """The first picture all the time."""
        return Pictures(
            np.broadcast_to(self.motion_THWC[:1], self.motion_THWC.shape),
            np.broadcast_to(self.detail_THWC[:1], self.detail_THWC.shape),
        )


@dataclass
class MediaView:
    """One file, decoded when asked.

    Attributes:
        path: the file.
        folder: for a copy with silence, where it has no sound.
        shown: the part of the upright picture to look at.
    """

    path: Path
    folder: Path
    shown: Shares = WHOLE
    _waves: dict[int, Waves] = field(default_factory=dict, repr=False)

    @cached_property
    def file(self) -> Dubbed:
        """What was measured of it.

        Raises:
            MediaError: it cannot be read.
        """
        own = self.folder / hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        own.mkdir(parents=True, exist_ok=True)
        return dubbed(self.path, own)

    @property
    def duration_s(self) -> float:
        """Of its pictures, all of them."""
        video = self.file.info.video
        return video.end_s - video.start_s

    @property
    def looked_s(self) -> float:
        """How much of it is looked at."""
        return min(self.duration_s, MAX_S)

    @property
    def shape(self) -> tuple[float, float]:
        """Width and height of what is shown, in square pixels."""
        width, height = self.file.info.video.shape
        x0, y0, x1, y1 = self.shown
        return float(width) * (x1 - x0), float(height) * (y1 - y0)

    @cached_property
    def own_sizes(self) -> Sizes:
        """Width and height of its pictures for motion and in detail."""
        return size_within(self.shape, MOTION_PX), size_within(self.shape, DETAIL_PX)

    @cached_property
    def pictures(self) -> Pictures:
        """Its pictures at its own sizes.

        Raises:
            MediaError: it cannot be decoded.
        """
        return self.pictures_at(self.own_sizes)

    def pictures_at(self, sizes: Sizes) -> Pictures:
        """Decode its pictures.

        Args:
            sizes: width and height of those for motion and of those in detail.
        Raises:
            MediaError: it cannot be decoded.
        """
        motion_size, detail_size = sizes
        num_frames = num_ticks(self.looked_s, FPS)
        motion = np.empty((num_frames, *motion_size[::-1], 3), np.uint8)
        detail = np.empty((-(-num_frames // DETAIL_STEP), *detail_size[::-1], 3), np.uint8)
        for number, frame_HWC in enumerate(self.frames(max(detail_size), min(detail_size))):
            motion[number] = resized(frame_HWC, motion_size)
            if number % DETAIL_STEP == 0:
                detail[number // DETAIL_STEP] = resized(frame_HWC, detail_size)
        return Pictures(motion, detail)

    def sampled(self, fps: Fraction, short_px: int) -> Frames:
        """Its pictures at another rate and size, (T, H, W, 3), for models that ask for that."""
        size = size_within(self.shape, short_px)
        found = np.empty((num_ticks(self.looked_s, fps), *size[::-1], 3), np.uint8)
        for number, frame_HWC in enumerate(self.frames(max(size), min(size), fps=fps)):
            found[number] = resized(frame_HWC, size)
        return found

    def frames(self, long_px: int, short_px: int, *, fps: Fraction = FPS) -> Iterator[Frames]:
        """Pictures of what is shown, not smaller than asked where the file has as many pixels."""
        info = self.file.info
        share = max(short_px / min(self.shape), long_px / max(self.shape))
        short_side_px = max(2, round(share * float(min(info.video.shape))))
        start_s = info.video.start_s
        for frame_HWC in iter_frames(
            self.file.path,
            info,
            start_s=start_s,
            end_s=start_s + self.looked_s,
            fps=fps,
            height_px=short_side_px,
        ):
            yield cut(frame_HWC, self.shown)

    @property
    def has_sound(self) -> bool:
        return self.file.has_sound

    def wave(self, rate_hz: int) -> Waves:
        """Its sound as (2, N) float32 in [-1, 1], from its first picture to the last.

        Raises:
            MediaError: it cannot be decoded.
        """
        if rate_hz not in self._waves:
            start_s = self.file.info.video.start_s
            self._waves[rate_hz] = read_audio(
                self.file.path,
                self.file.info,
                start_s=start_s,
                end_s=start_s + self.looked_s,
                sample_rate_hz=rate_hz,
                mono=False,
            )
        return self._waves[rate_hz]

    def recorded(self) -> Iterator[Frames]:
        """Its pictures as recorded, at its own size and rate, one at a time.

        AV-Align is defined on these. They are read anew: held, they would take gigabytes.

        Yields:
            (H, W, 3) uint8 RGB.
        """
        info = self.file.info
        start_s = info.video.start_s
        width, height = (max(2, 2 * round(side / 2)) for side in info.video.shape)
        for _, frame_HWC in iter_pictures(
            self.file.path,
            info,
            start_s=start_s,
            end_s=start_s + self.looked_s,
            size=(width, height),
            pix_fmt="rgb24",
        ):
            yield cut(frame_HWC, self.shown)


def cut(frame_HWC: Frames, shown: Shares) -> Frames:
    """A part of a picture (H, W, …), at least a pixel of it."""
    if shown == WHOLE:
        return frame_HWC
    height, width = frame_HWC.shape[:2]
    x0, y0, x1, y1 = shown
    rows = slice(round(y0 * height), max(round(y1 * height), round(y0 * height) + 1))
    columns = slice(round(x0 * width), max(round(x1 * width), round(x0 * width) + 1))
    return frame_HWC[rows, columns]


def resized(frame_HWC: Frames, size: tuple[int, int]) -> Frames:
    """A picture at another width and height."""
    if frame_HWC.shape[1::-1] == size:
        return frame_HWC
    is_smaller = frame_HWC.shape[1] > size[0]
    way = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    found: Frames = cv2.resize(frame_HWC, size, interpolation=way)
    return found
