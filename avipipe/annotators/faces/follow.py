"""Finds the faces of a video and follows them."""

from fractions import Fraction

import numpy as np

from avipipe.annotators.base import Frames
from avipipe.annotators.faces.detect import FaceDetector
from avipipe.annotators.faces.track import FaceTrack, track_faces
from avipipe.annotators.tracking import find_cuts

MAX_FACES = 12
"""Most faces that are followed: in a crowd, the largest ones."""
_LOOKS_HZ = 8
"""Frames looked at in a second; a choice between cost and how far a face moves from one to the
next."""
_MAX_GAP_S = 0.5
"""Longest time for which a face may be unseen, four looks; a choice."""


def follow_faces(
    frames_THWC: Frames, detector: FaceDetector, *, fps: Fraction, least_frames: int
) -> list[FaceTrack]:
    """Tracks of faces in the order of their first frames, then from left to right; none over a cut.

    Args:
        frames_THWC: RGB, at least one.
        least_frames: shorter tracks are dropped.
    """
    frames_THWC = np.ascontiguousarray(frames_THWC)
    cuts = find_cuts(frames_THWC)
    step = max(1, round(fps / _LOOKS_HZ))
    looked = {0, len(frames_THWC) - 1, *cuts, *(cut - 1 for cut in cuts)}
    looked.update(range(0, len(frames_THWC), step))
    tracks = track_faces(
        {frame: detector.detect(frames_THWC[frame]) for frame in sorted(looked)},
        cuts=cuts,
        max_gap_frames=round(_MAX_GAP_S * fps),
        least_frames=least_frames,
    )
    largest = sorted(tracks, key=_extent, reverse=True)[:MAX_FACES]
    return [track for track in tracks if track in largest]


def _extent(track: FaceTrack) -> float:
    """Area of the face, added up over its frames."""
    return float(np.prod(track.boxes_T4[:, 2:] - track.boxes_T4[:, :2], axis=1).sum())
