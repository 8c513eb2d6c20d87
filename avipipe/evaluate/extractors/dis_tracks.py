"""Tracks of points without weights: the flow of DIS, followed from picture to picture.

A point is lost where the flow forth and back do not agree, or where it leaves the picture. Flow
drifts, so tracks last a second, and all points start anew after it.

Source: Sundaram et al., Dense point trajectories by GPU-accelerated large displacement optical flow
(ECCV 2010), equation 5, for when a point is lost; Kroeger et al., Fast optical flow using dense
inverse search (ECCV 2016), for the flow.
"""

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.embedded.flow import follow
from avipipe.evaluate.metrics.undefined import require_frames
from avipipe.evaluate.metrics.warp_error import Flow, dis_flows

Tracks = npt.NDArray[np.float32]

TRACKS_VERSION = 1
"""Raised whenever the same pictures would give other tracks, so that none in a store is stale."""
STEP = 4
"""Pictures from one place of a track to its next: a sixth of a second, in which what moves is
further off than flow errs. A choice."""
WINDOW = 24
"""Pictures, at most, from the begin of a track to its end: a second. A choice."""
_SPACING_PX = 8
"""Between points that are followed: the width of DIS' patches. FiVE-Bench's 55 points a side are
4 to 8 px apart in pictures of this size."""
# How far forth and back may part, squared: a share of both lengths, and square pixels on top.
_PART_SHARE, _PART_PX2 = 0.01, 0.5


def dis_tracks(frames_THWC: Frames) -> Tracks:
    """Places of the points of a grid, (W windows, P points, K places, xy) in pixels.

    Windows follow one another, begin where the one before ends, and are of equal length; the last
    one is moved back to end with the video, and overlaps the one before it. Places are `STEP`
    pictures apart; from where a point is lost they are NaN.

    Args:
        frames_THWC: RGB, uint8, at a short side of 240 px.
    Raises:
        Undefined: fewer than `STEP` + 1 frames.
    """
    require_frames(frames_THWC, STEP + 1)
    length = min(WINDOW, (len(frames_THWC) - 1) // STEP * STEP)
    last = len(frames_THWC) - 1 - length
    begins = [*range(0, last, length), last]
    return np.stack([_window(frames_THWC[first : first + length + 1]) for first in begins])


def _window(frames_THWC: Frames) -> Tracks:
    height, width = frames_THWC.shape[1:3]
    ahead = dis_flows(frames_THWC)
    back = dis_flows(frames_THWC[::-1])[::-1]
    places_P2 = _grid(width, height)
    kept = [places_P2]
    for number, flows in enumerate(zip(ahead, back, strict=True), start=1):
        places_P2 = _followed(places_P2, *flows)
        if number % STEP == 0:
            kept.append(places_P2)
    return np.stack(kept, axis=1)


def _grid(width: int, height: int) -> Tracks:
    columns, rows = (
        np.arange(size % _SPACING_PX // 2, size, _SPACING_PX) for size in (width, height)
    )
    found_HW2 = np.stack(np.meshgrid(columns, rows), axis=-1)
    return found_HW2.reshape(-1, 2).astype(np.float32)


def _followed(places_P2: Tracks, ahead_HW2: Flow, back_HW2: Flow) -> Tracks:
    """Where points are in the next picture; NaN for those that are lost."""
    ahead_P2 = _at(ahead_HW2, places_P2)
    found_P2 = places_P2 + ahead_P2
    back_P2 = _at(back_HW2, found_P2)
    squares_P = (ahead_P2**2 + back_P2**2).sum(axis=1)
    parts_P = ((ahead_P2 + back_P2) ** 2).sum(axis=1)
    height, width = ahead_HW2.shape[:2]
    is_inside = ((found_P2 >= 0) & (found_P2 <= (width - 1, height - 1))).all(axis=1)
    is_kept = is_inside & (parts_P <= _PART_SHARE * squares_P + _PART_PX2)
    return np.where(is_kept[:, None], found_P2, np.float32(np.nan))


def _at(flow_HW2: Flow, places_P2: Tracks) -> Tracks:
    columns, rows = np.nan_to_num(places_P2).T[..., None]
    sampled_P2 = follow(flow_HW2, np.ascontiguousarray(columns), np.ascontiguousarray(rows))[:, 0]
    return np.where(np.isnan(places_P2), np.float32(np.nan), sampled_P2)
