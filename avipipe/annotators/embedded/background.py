"""How far each pixel of a clip stands out from the background, which is what is mostly there.

Frames are laid over each other, the camera's motion undone; the median of what a place shows is its
background, and the quartiles say how noisy it is.

Source: temporal median background, e.g. Piccardi, Background subtraction techniques, SMC 2004.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from avipipe.annotators.base import Frames, Mask
from avipipe.annotators.embedded.flow import Array, grey
from avipipe.annotators.embedded.register import (
    Homography,
    camera_path,
    displacement_px,
    register,
)

_STEADY = 0.15
"""Displacement, over the picture's short side, within which the camera stays about its place and
one middle view serves all frames of the run. A choice."""
_FAR = 0.5
"""Displacement of a corner, over the picture's width, from which a view shares too little with
another to add to its background. A choice."""
_MAX_VIEWS = 25
"""Most frames in one median, which bounds its time and memory."""
_MIN_VIEWS = 0.4
"""Share of these frames that must show a place for its background to be known. A choice: a median
of few is whatever happened to be there."""
_CHROMA_GAIN = 1.5
"""Weight of CIELAB's a and b against light: shadows and flicker change light, things also hue. A
choice."""
_SHADOW_GAIN = 0.6
"""Weight of what is darker than the background, which may be a shadow. A choice."""
_NOISE_GAIN = 3.0
"""Usual difference over the distance of the quartiles from the median: three are two standard
deviations of Gaussian noise."""
_LEAST_GAP = 12.0
"""Levels of 255 by which a place without noise may differ from its background. A choice, over what
coding does."""
_MAX_NOISE = 10.0
"""Levels of 255 that noise may count for at most, or nothing stood out where things often pass. A
choice."""


@dataclass(frozen=True, slots=True)
class _Background:
    """What is mostly seen from one view: colours and noise of each pixel, and where it is known."""

    colours_HWC: Frames
    noise_HW: Array
    known_HW: Mask

    def seen_from(self, to_there: Homography) -> "_Background":
        size = (self.noise_HW.shape[1], self.noise_HW.shape[0])
        known = cv2.warpPerspective(self.known_HW.astype(np.uint8), to_there, size)
        colours_HWC = cv2.warpPerspective(
            self.colours_HWC, to_there, size, borderMode=cv2.BORDER_REPLICATE
        )
        noise_HW = cv2.warpPerspective(self.noise_HW, to_there, size)
        return _Background(np.asarray(colours_HWC), np.asarray(noise_HW), known > 0)


@dataclass(frozen=True, slots=True)
class Front:
    """Foreground of a clip: what is in front of the background.

    Attributes:
        gap_THW: how far pixels differ from the background, over what is usual: 1 is doubtful.
        edge_THW: strength of the edges in each frame.
        edge_behind_THW: and of the background's there.
    """

    gap_THW: Array
    edge_THW: Array
    edge_behind_THW: Array


def find_front(frames_THWC: Frames, *, window: int) -> Front | None:
    """Compare each frame with its background.

    The background of a camera that keeps still, or moves about its place, is that of all frames;
    of one that moves on, that of `window` frames before and after. None if the camera is lost.
    """
    pictures = [grey(frame_HWC) for frame_HWC in frames_THWC]
    path = camera_path(pictures)
    if path is None:
        return None
    colours_THWC = np.stack([_colours(frame_HWC) for frame_HWC in frames_THWC])
    height, width = frames_THWC.shape[1:3]
    gaps: list[Array] = []
    edges_behind: list[Array] = []
    for run in _runs(path, width, height):
        middle = (run.start + run.stop) // 2
        to_middle = [np.linalg.inv(path[middle]) @ matrix for matrix in path]
        for frame in run:
            # A chain of steps drifts; within a run the view is near enough to do without.
            direct = register(pictures[frame], pictures[middle])
            to_middle[frame] = to_middle[frame] if direct is None else direct
        around = range(
            max(0, min(run.start, middle - window)),
            min(len(path), max(run.stop, middle + window + 1)),
        )
        views = [n for n in around if displacement_px(to_middle[n], width, height) < _FAR * width]
        background = _background(colours_THWC, _at_most(views, _MAX_VIEWS), to_middle)
        for frame in run:
            here = background.seen_from(np.asarray(np.linalg.inv(to_middle[frame])))
            gaps.append(_gap(colours_THWC[frame], here))
            edges_behind.append(_edges(here.colours_HWC))
    edges = [_edges(colours_HWC) for colours_HWC in colours_THWC]
    return Front(np.stack(gaps), np.stack(edges), np.stack(edges_behind))


def _at_most(views: list[int], count: int) -> list[int]:
    """Evenly spread ones of them."""
    if len(views) <= count:
        return views
    return [views[n * len(views) // count] for n in range(count)]


def _runs(path: Sequence[Homography], width: int, height: int) -> Iterator[range]:
    """Cut the clip into stretches in which the camera stays about its place."""
    start = 0
    reach_px = _STEADY * min(width, height)
    for frame in range(1, len(path) + 1):
        if frame < len(path):
            moved = np.linalg.inv(path[start]) @ path[frame]
            if displacement_px(moved, width, height) < reach_px:
                continue
        yield range(start, frame)
        start = frame


def _colours(frame_HWC: Frames) -> Frames:
    """CIELAB with 128 for grey; a step in hue counts more than one in light."""
    lab = cv2.cvtColor(cv2.GaussianBlur(frame_HWC, (0, 0), 0.8), cv2.COLOR_RGB2LAB)
    gains = np.array([1.0, _CHROMA_GAIN, _CHROMA_GAIN], np.float32)
    offsets = 128.0 * (1.0 - gains)
    return np.asarray(np.clip(lab * gains + offsets, 0, 255), np.uint8)


def _background(
    colours_THWC: Frames, views: Sequence[int], to_here: Sequence[Homography]
) -> _Background:
    height, width = colours_THWC.shape[1:3]
    stack, count = [], np.zeros((height, width), np.int64)
    for view in views:
        warped = cv2.warpPerspective(
            colours_THWC[view],
            to_here[view],
            (width, height),
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(255, 255, 255),
        )
        inside = cv2.warpPerspective(
            np.full((height, width), 255, np.uint8), to_here[view], (width, height)
        )
        warped[inside < 255] = 255
        count += inside == 255
        stack.append(warped)
    ordered = np.sort(np.stack(stack), axis=0)

    def quantile(share: float) -> Frames:
        index = np.minimum((share * count).astype(np.int64), np.maximum(count - 1, 0))
        return np.asarray(np.take_along_axis(ordered, index[None, :, :, None], axis=0)[0])

    low, middle, high = (quantile(share).astype(np.float32) for share in (0.25, 0.5, 0.75))
    noise = np.minimum(high - middle, middle - low).max(axis=-1)
    return _Background(middle.astype(np.uint8), noise, count >= max(2.0, _MIN_VIEWS * len(views)))


def _gap(colours_HWC: Frames, behind: _Background) -> Array:
    """How far colours differ from the background's, over what is usual (H, W)."""
    # A pixel's shift or a blurred edge explains whatever lies between neighbouring colours.
    square = np.ones((3, 3), np.uint8)
    darkest, lightest = (change(behind.colours_HWC, square) for change in (cv2.erode, cv2.dilate))
    below = cv2.subtract(darkest, colours_HWC).astype(np.float32)
    above = cv2.subtract(colours_HWC, lightest).astype(np.float32)
    below[..., 0] *= _SHADOW_GAIN
    gap = np.maximum(below, above).max(axis=-1)
    usual = _LEAST_GAP + _NOISE_GAIN * np.minimum(behind.noise_HW, _MAX_NOISE)
    return np.where(behind.known_HW, gap / usual, 0.0).astype(np.float32)


def _edges(colours_HWC: Frames) -> Array:
    """How much colours change within three pixels (H, W)."""
    square = np.ones((3, 3), np.uint8)
    spread = cv2.morphologyEx(colours_HWC, cv2.MORPH_GRADIENT, square)
    return np.asarray(spread.max(axis=-1), np.float32)
