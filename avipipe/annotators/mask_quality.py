"""How good a mask track is, by itself and against what was found independently of it.

Masks are (T, H, W) bool. A measure is None where there is nothing to measure it on.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import fmean

import cv2
import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import Box, Mask

AREA_JUMP_RATIO = 1 / 3
"""Change of the area between successive frames, over the earlier one, that is a jump. A choice:
things seldom grow by a third in a frame."""
MIN_PART_RATIO = 0.02
"""Share of the mask's area under which a part is a speck; a choice."""

Found = Mapping[int, Sequence[Mask | Box]]
"""What was found independently of a track: frame -> detected boxes or segmented masks."""


def overlap(a_HW: Mask, b_HW: Mask) -> float:
    """Intersection over union of masks; 1 where both are empty."""
    union = np.count_nonzero(a_HW | b_HW)
    return np.count_nonzero(a_HW & b_HW) / union if union else 1.0


def box_overlap(a: Box, b: Box) -> float:
    """Intersection over union of boxes; 0 where both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    union = _box_area(a) + _box_area(b) - both
    return both / union if union > 0.0 else 0.0


def bounding_box(mask_HW: Mask) -> Box | None:
    """Half-open box around a mask; None if it is empty."""
    if not mask_HW.any():
        return None
    x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)


def agreement(masks_THW: Mask, found: Found) -> float | None:
    """Mean overlap of a track with the best match among what was found in each frame."""
    return agreements([masks_THW], found)[0]


def agreements(tracks: Sequence[Mask], found: Found) -> list[float | None]:
    """Mean overlap of each track with what was found, matched one to one in each frame.

    The matching has the largest sum of overlaps (Hungarian), so that two tracks of one instance
    cannot both agree with it. A track that is left without a match in a frame in which something
    was found has overlap 0 there. Masks are compared with masks, boxes with the masks' boxes.
    """
    if not tracks:
        return []
    rows = []
    for frame, things in found.items():
        if not things:
            continue
        overlap_NM = np.array(
            [[_overlap_with(track[frame], thing) for thing in things] for track in tracks]
        )
        matched_N = np.zeros(len(tracks))
        which_track, which_thing = scipy.optimize.linear_sum_assignment(overlap_NM, maximize=True)
        matched_N[which_track] = overlap_NM[which_track, which_thing]
        rows.append(matched_N)
    if not rows:
        return [None] * len(tracks)
    return [fmean(overlaps) for overlaps in np.array(rows).T.tolist()]


def temporal_iou(masks_THW: Mask) -> float | None:
    """Mean overlap of masks in successive frames that both have one."""
    both = _neighbours(masks_THW)
    return fmean(overlap(a, b) for a, b in both) if both else None


def aligned_iou(masks_THW: Mask) -> float | None:
    """As `temporal_iou`, each mask moved by whole pixels onto the centroid of the one before.

    It falls where the outline changes, and stays where the thing only moves. What is moved out of
    the picture does not count; still it falls a little while the picture's edge cuts the thing,
    whose centroid then moves by less than the thing does.
    """
    both = _neighbours(masks_THW)
    return fmean(_aligned_overlap(a, b) for a, b in both) if both else None


def area_changes(masks_THW: Mask) -> list[float]:
    """Relative changes of the area between successive frames that have a mask."""
    return [abs(int(b.sum()) / int(a.sum()) - 1) for a, b in _neighbours(masks_THW)]


def area_jump_ratio(masks_THW: Mask) -> float | None:
    """Share of successive frames in which the area changes by a third or more."""
    changes = area_changes(masks_THW)
    return fmean(change >= AREA_JUMP_RATIO for change in changes) if changes else None


def largest_area_jump(masks_THW: Mask) -> float | None:
    """The largest of `area_changes`: 1 is a doubling, and no loss is more than 1."""
    return max(area_changes(masks_THW), default=None)


def disagreement(forward_THW: Mask, backward_THW: Mask) -> float | None:
    """One minus the mean overlap of two tracks of one thing, carried from different frames.

    Frames in which both are empty do not count.
    """
    overlaps = [
        overlap(a, b) for a, b in zip(forward_THW, backward_THW, strict=True) if a.any() or b.any()
    ]
    return 1.0 - fmean(overlaps) if overlaps else None


def persistence(masks_THW: Mask) -> float:
    """Share of frames with a mask."""
    return float(_seen(masks_THW).mean()) if len(masks_THW) else 0.0


def longest_gap_s(masks_THW: Mask, *, fps: Fraction) -> float:
    """The longest time for which the thing is away before it comes back; 0 if it never does."""
    seen_N = np.flatnonzero(_seen(masks_THW))
    missing = int((np.diff(seen_N) - 1).max(initial=0))
    return float(missing / fps)


def edge_ratio(masks_THW: Mask) -> float | None:
    """Share of the frames with a mask in which it touches the picture's edge."""
    seen_T = _seen(masks_THW)
    if not seen_T.any():
        return None
    on_edge_HW = np.ones(masks_THW.shape[1:], np.bool_)
    on_edge_HW[1:-1, 1:-1] = False
    touches_T = np.asarray(masks_THW[:, on_edge_HW].any(axis=1))
    return float(touches_T[seen_T].mean())


def mean_parts(masks_THW: Mask) -> float | None:
    """Mean number of connected parts that are not specks, over the frames with a mask."""
    counts = [_num_parts(mask_HW) for mask_HW in masks_THW if mask_HW.any()]
    return fmean(counts) if counts else None


def area_ratios(masks_THW: Mask) -> npt.NDArray[np.float64]:
    """Mask area over the picture's, of each frame that has a mask."""
    ratios_T: npt.NDArray[np.float64] = masks_THW.mean(axis=(1, 2))
    return ratios_T[_seen(masks_THW)]


def _seen(masks_THW: Mask) -> npt.NDArray[np.bool_]:
    return np.asarray(masks_THW.any(axis=(1, 2)))


def _neighbours(masks_THW: Mask) -> list[tuple[Mask, Mask]]:
    return [(a, b) for a, b in pairwise(masks_THW) if a.any() and b.any()]


def _box_area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap_with(mask_HW: Mask, thing: Mask | Box) -> float:
    if isinstance(thing, np.ndarray):
        return overlap(mask_HW, thing)
    box = bounding_box(mask_HW)
    return 0.0 if box is None else box_overlap(box, thing)


def _aligned_overlap(a_HW: Mask, b_HW: Mask) -> float:
    dy, dx = np.rint(_centroid(b_HW) - _centroid(a_HW)).astype(int).tolist()
    a_here, a_there = _shared(a_HW.shape[0], dy), _shared(a_HW.shape[1], dx)
    b_here, b_there = _shared(a_HW.shape[0], -dy), _shared(a_HW.shape[1], -dx)
    return overlap(a_HW[a_here, a_there], b_HW[b_here, b_there])


def _shared(length: int, shift: int) -> slice:
    """What of an axis is still in the picture after a shift."""
    return slice(max(0, -shift), length - max(0, shift))


def _centroid(mask_HW: Mask) -> npt.NDArray[np.float64]:
    return np.asarray(np.argwhere(mask_HW).mean(axis=0))


def _num_parts(mask_HW: Mask) -> int:
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8))
    areas = stats[1:count, cv2.CC_STAT_AREA]
    return int((areas >= MIN_PART_RATIO * areas.sum()).sum())
