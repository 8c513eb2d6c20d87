"""Joins boxes of single frames to tracks, and finds the cuts over which no track goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Frames

Boxes = npt.NDArray[np.float64]
"""Boxes (N, 4), each (x0, y0, x1, y1) in pixels."""

_LEAST_OVERLAP = 0.3
"""Intersection over union under which boxes are not of one thing, as in SORT (Bewley et al., ICIP
2016)."""
_SPEED_SIGHTS = 3
"""Last boxes whose velocity a thing keeps: two would follow every jitter. A choice."""
# Mean change of a thumbnail's pixels, in levels of 255, and over the largest of that many frames
# before and after, that is a cut. Choices, checked on real clips: the cuts of two were found, and
# none in a shaky one of 10 fps.
_CUT_GREY = 20.0
_CUT_RATIO = 2.0
_CUT_REACH = 6
_THUMBNAIL = (32, 18)
"""Width and height in pixels: so small that motion within a shot changes little."""


@dataclass(slots=True, eq=False)
class Chain:
    """A chain of boxes of one thing: in which frames, and which box of each."""

    frames: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)

    def expected(self, frame: int) -> Boxes:
        """The box expected by now, at constant velocity since the last sights."""
        frames, boxes = self.frames[-_SPEED_SIGHTS:], self.boxes[-_SPEED_SIGHTS:]
        if len(frames) < 2:
            return boxes[-1]
        shift = _centre(boxes[-1]) - _centre(boxes[0])
        shift = shift * (frame - frames[-1]) / (frames[-1] - frames[0])
        return np.asarray(boxes[-1] + np.tile(shift, 2), np.float64)


def link(
    boxes: Mapping[int, Boxes], *, cuts: Sequence[int] = (), max_gap_frames: int
) -> list[Chain]:
    """Link the boxes of successive frames to chains, in the order of their first ones.

    Args:
        boxes: frame -> boxes in it (N, 4), for every frame that was looked at, ascending.
        cuts: frames that begin another shot; nothing goes on over one.
        max_gap_frames: how long a thing may be unseen.
    """
    chains: list[Chain] = []
    live: list[Chain] = []
    for frame in sorted(boxes):
        shot = max((cut for cut in cuts if cut <= frame), default=0)
        live = [
            chain
            for chain in live
            if chain.frames[-1] >= shot and frame - chain.frames[-1] <= max_gap_frames
        ]
        taken = _assign(live, frame, boxes[frame])
        for number, box_4 in enumerate(boxes[frame]):
            chain = live[taken[number]] if number in taken else Chain()
            if number not in taken:
                chains.append(chain)
                live.append(chain)
            chain.frames.append(frame)
            chain.numbers.append(number)
            chain.boxes.append(box_4)
    return chains


def _assign(chains: Sequence[Chain], frame: int, boxes_N4: Boxes) -> dict[int, int]:
    """Number of a box -> number of the chain that it goes on with."""
    if not chains or not len(boxes_N4):
        return {}
    expected_MN = overlaps(np.stack([chain.expected(frame) for chain in chains]), boxes_N4)
    last_MN = overlaps(np.stack([chain.boxes[-1] for chain in chains]), boxes_N4)
    # What turns back is nearer to where it was; of two that cross, each goes on.
    worth_MN = expected_MN + last_MN / 2
    worth_MN[np.maximum(expected_MN, last_MN) < _LEAST_OVERLAP] = 0.0
    rows, columns = scipy.optimize.linear_sum_assignment(worth_MN, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {column: row for row, column in pairs if worth_MN[row, column] > 0}


def overlaps(boxes_M4: Boxes, others_N4: Boxes) -> Boxes:
    """Intersection over union of every pair of boxes: (M, N)."""
    low = np.maximum(boxes_M4[:, None, :2], others_N4[None, :, :2])
    high = np.minimum(boxes_M4[:, None, 2:], others_N4[None, :, 2:])
    shared_MN = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (boxes_M4, others_N4)]
    return np.asarray(shared_MN / (areas[0][:, None] + areas[1][None] - shared_MN), np.float64)


def find_cuts(frames_THWC: Frames) -> list[int]:
    """Frames that look unlike the one before, and by far more than their neighbours do."""
    thumbnails = [
        cv2.cvtColor(
            cv2.resize(frame, _THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        for frame in frames_THWC
    ]
    grey_TYX = np.stack(thumbnails).astype(np.float32)
    change_T = np.abs(np.diff(grey_TYX, axis=0)).mean(axis=(1, 2))
    cuts = []
    for place in np.flatnonzero(change_T > _CUT_GREY).tolist():
        low = max(0, place - _CUT_REACH)
        around = np.delete(change_T[low : place + _CUT_REACH + 1], place - low)
        # The largest, not a typical one: where frames are doubled, every other change is none.
        if change_T[place] > _CUT_RATIO * around.max(initial=0.0):
            cuts.append(place + 1)
    return cuts


def _centre(box_4: Boxes) -> Boxes:
    return np.asarray((box_4[:2] + box_4[2:]) / 2, np.float64)
