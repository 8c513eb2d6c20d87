"""What can be said of the pictures of a clip as such: what lies over them, and how they change."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from avipipe.annotators.base import Box, Frames, Mask
from avipipe.annotators.embedded.flow import grey
from avipipe.annotators.picture.bars import Bounds, content_bounds
from avipipe.annotators.picture.camera import (
    CameraMotion,
    Changes,
    measure_camera,
    measure_changes,
)
from avipipe.annotators.picture.overlays import find_overlays
from avipipe.annotators.picture.panels import num_panels

_NUM_SAMPLES = 24
"""Pictures of a shot that are looked at for what stays and what moves; a choice for cost."""
_MOVING = 3
"""Levels by which a place must change between most samples to count as one that moves."""
_FLAT = 2
"""Largest difference of neighbours, in levels, where nothing is drawn."""
_FLAT_STEP = 3
"""Every n-th of these is enough for what is flat."""


@dataclass(frozen=True, slots=True)
class PictureLayout:
    """Layout of the pictures (T, H, W, 3) of a clip; boxes are in their pixels.

    Attributes:
        content: what lies within bars and borders.
        overlays: what stays over the moving picture.
        num_panels: pictures that it is put together from; 1 for one that is whole.
        flat_ratio: share of it that is evenly coloured, as drawings are.
    """

    content: Box
    overlays: tuple[Box, ...]
    num_panels: int
    changes: Changes
    camera: CameraMotion
    flat_ratio: float


def measure_picture(frames_THWC: Frames, *, fps: Fraction) -> PictureLayout:
    """Measure the layout of one shot, from small pictures (180 px) in order."""
    cv2.setNumThreads(1)
    whole_THW = np.stack([grey(frame_HWC) for frame_HWC in frames_THWC])
    samples = _spread(len(whole_THW))
    bounds = content_bounds(whole_THW[samples])
    left, top, right, bottom = bounds
    grey_THW = np.ascontiguousarray(whole_THW[:, top:bottom, left:right])
    grey_SHW = grey_THW[samples]
    moving_HW = _moving(grey_SHW)
    overlays = find_overlays(grey_SHW, moving_HW)
    shown_HW = np.ones(grey_THW.shape[1:], np.bool_)
    for x0, y0, x1, y1 in overlays:
        shown_HW[y0:y1, x0:x1] = False
    return PictureLayout(
        content=_box(bounds),
        overlays=tuple(
            _box((left + x0, top + y0, left + x1, top + y1)) for x0, y0, x1, y1 in overlays
        ),
        num_panels=num_panels(grey_SHW, moving_HW),
        changes=measure_changes(grey_THW),
        camera=measure_camera(grey_THW, shown_HW, fps=float(fps)),
        flat_ratio=_flat_ratio(grey_SHW[::_FLAT_STEP]),
    )


def blanked(frames_THWC: Frames, overlays: Sequence[Box]) -> Frames:
    """The frames with the boxes in one grey, so that nothing moves there; the same without any."""
    if not overlays:
        return frames_THWC
    blank_THWC = frames_THWC.copy()
    for x0, y0, x1, y1 in overlays:
        blank_THWC[:, int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 128
    return blank_THWC


def _spread(num_frames: int) -> list[int]:
    count = min(_NUM_SAMPLES, num_frames)
    return [round(float(n)) for n in np.linspace(0, num_frames - 1, count)]


def _moving(grey_SHW: Frames) -> Mask:
    """Where most samples differ from the next (H, W); a fade, or what comes by once, is less."""
    if len(grey_SHW) < 2:
        return np.zeros(grey_SHW.shape[1:], np.bool_)
    smooth = [cv2.blur(grey_HW, (3, 3)) for grey_HW in grey_SHW]
    steps = [cv2.absdiff(*pair) for pair in zip(smooth[1:], smooth[:-1], strict=True)]
    return np.asarray(np.median(np.stack(steps), axis=0) > _MOVING)


def _flat_ratio(grey_SHW: Frames) -> float:
    square = np.ones((3, 3), np.uint8)
    flat = [cv2.morphologyEx(grey_HW, cv2.MORPH_GRADIENT, square) <= _FLAT for grey_HW in grey_SHW]
    return float(np.mean(flat))


def _box(bounds: Bounds) -> Box:
    x0, y0, x1, y1 = bounds
    return float(x0), float(y0), float(x1), float(y1)
