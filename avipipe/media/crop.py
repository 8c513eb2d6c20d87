"""Cropping: bars and borders of a picture are cut off before it is scaled."""

import math
from dataclasses import dataclass, replace

from avipipe.media.probe import VideoInfo

Shares = tuple[float, float, float, float]
"""A box (x0, y0, x1, y1), half-open, as shares of the upright picture's width and height."""

WHOLE: Shares = (0.0, 0.0, 1.0, 1.0)
_GRAIN_PX = 2
"""Chroma is coded for two pixels at once."""
_ROUNDING = 0.25
"""Share of a grain by which shares may be off that were rounded to four decimals."""
_DECIMALS = 6
"""Of shares that are stored: far finer than a pixel."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a coded picture, before it is turned upright, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def within(cls, video: VideoInfo, content: Shares) -> "Crop":
        """The even pixels inside a part of the upright picture; all of them for the whole."""
        left, top, right, bottom = _coded(video, content)
        columns, rows = _inside(left, right, video.width), _inside(top, bottom, video.height)
        return cls(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])

    def is_whole(self, video: VideoInfo) -> bool:
        return (self.width, self.height) == (video.width, video.height)

    def of(self, video: VideoInfo) -> VideoInfo:
        """Describe the video after the crop."""
        return replace(video, width=self.width, height=self.height)

    def shares(self, video: VideoInfo) -> Shares:
        """The crop's place in the upright picture."""
        box = (
            self.left / video.width,
            self.top / video.height,
            (self.left + self.width) / video.width,
            (self.top + self.height) / video.height,
        )
        for _ in range(video.rotation_deg // 90):
            box = 1 - box[3], box[0], 1 - box[1], box[2]
        if video.mirrored:
            box = 1 - box[2], box[1], 1 - box[0], box[3]
        x0, y0, x1, y1 = (round(share, _DECIMALS) for share in box)
        return x0, y0, x1, y1


def _coded(video: VideoInfo, upright: Shares) -> Shares:
    box = upright
    if video.mirrored:
        box = 1 - box[2], box[1], 1 - box[0], box[3]
    for _ in range(video.rotation_deg // 90):
        box = box[1], 1 - box[2], box[3], 1 - box[0]
    return box


def _inside(low: float, high: float, length: int) -> tuple[int, int]:
    grains = length / _GRAIN_PX
    first = _GRAIN_PX * max(0, math.ceil(low * grains - _ROUNDING))
    last = _GRAIN_PX * math.floor(high * grains + _ROUNDING)
    # Of an odd number of pixels the last one is kept, too, where nothing is cut off.
    return first, length if high >= 1.0 or last > length else last


def in_crop(box: Shares, crop: Shares) -> Shares:
    """Convert a box of the whole picture to shares of the crop; empty where nothing is left."""
    x0, y0, x1, y1 = crop
    width, height = x1 - x0, y1 - y0
    inside = (
        (box[0] - x0) / width,
        (box[1] - y0) / height,
        (box[2] - x0) / width,
        (box[3] - y0) / height,
    )
    left, top, right, bottom = (min(max(share, 0.0), 1.0) for share in inside)
    return left, top, right, bottom


def normal_box(box: Shares, *, width: int, height: int) -> Shares:
    """Convert a box from pixels to shares of the picture."""
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def pixel_box(box: Shares, *, width: int, height: int) -> Shares:
    """Convert a box from shares of the picture to pixels."""
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def is_seen(box: Shares) -> bool:
    """Whether anything is left of a box."""
    return box[2] > box[0] and box[3] > box[1]
