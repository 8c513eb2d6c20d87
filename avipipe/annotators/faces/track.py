"""Joins the faces of single frames to tracks.

Every frame between the first and the last sight of a face gets a box, so faces need not be looked
for in every frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from avipipe.annotators.base import Frames
from avipipe.annotators.faces.detect import SURE_SCORE, Face, Points

_LEAST_OVERLAP = 0.3
_SPEED_SIGHTS = 3
_CUT_GREY = 20.0
_CUT_RATIO = 2.0
_CUT_REACH = 6
_THUMBNAIL = (32, 18)


@dataclass(frozen=True, slots=True, eq=False)
class FaceTrack:
    """One face in frames `first` … `first + T - 1`.

    Attributes:
        boxes_T4, landmarks_T52: as in `Face`, interpolated where it was not looked for.
        sights: frames in which it was seen.
        score: of its best sight.
    """

    first: int
    boxes_T4: Points
    landmarks_T52: Points
    sights: tuple[int, ...]
    score: float

    @property
    def frames(self) -> range:
        return range(self.first, self.first + len(self.boxes_T4))


@dataclass(slots=True, eq=False)
class _Open:
    """A track that may go on."""

    frames: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)

    def expected(self, frame: int) -> Points:
        """Where its box should be by now, if it goes on as it did in its last sights."""
        frames, faces = self.frames[-_SPEED_SIGHTS:], self.faces[-_SPEED_SIGHTS:]
        if len(frames) < 2:
            return faces[-1].box_4
        shift = _centre(faces[-1].box_4) - _centre(faces[0].box_4)
        shift = shift * (frame - frames[-1]) / (frames[-1] - frames[0])
        return faces[-1].box_4 + np.tile(shift, 2)


def track_faces(
    seen: Mapping[int, Sequence[Face]],
    *,
    cuts: Sequence[int] = (),
    max_gap_frames: int,
    least_frames: int,
) -> list[FaceTrack]:
    """Tracks in the order of their first frames, then from left to right.

    Args:
        seen: frame -> faces in it, for every frame that was looked at, ascending.
        cuts: frames that begin another shot; no track goes on over one.
        max_gap_frames: how long a face may be unseen.
        least_frames: shorter tracks are dropped, and so are those that never reach `SURE_SCORE`
            or are seen in less than half of the frames looked at.
    """
    looked = sorted(seen)
    tracks: list[_Open] = []
    live: list[_Open] = []
    for frame in looked:
        shot = max((cut for cut in cuts if cut <= frame), default=0)
        live = [
            track
            for track in live
            if track.frames[-1] >= shot and frame - track.frames[-1] <= max_gap_frames
        ]
        taken = _assign(live, frame, seen[frame])
        for number, face in enumerate(seen[frame]):
            track = live[taken[number]] if number in taken else _Open()
            if number not in taken:
                tracks.append(track)
                live.append(track)
            track.frames.append(frame)
            track.faces.append(face)
    closed = [_close(track) for track in tracks if _is_steady(track, looked, least_frames)]
    return sorted(closed, key=lambda track: (track.first, track.boxes_T4[0, 0]))


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


def overlaps(boxes_M4: Points, others_N4: Points) -> Points:
    """Intersection over union of every two boxes: (M, N)."""
    low = np.maximum(boxes_M4[:, None, :2], others_N4[None, :, :2])
    high = np.minimum(boxes_M4[:, None, 2:], others_N4[None, :, 2:])
    shared_MN = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (boxes_M4, others_N4)]
    return np.asarray(shared_MN / (areas[0][:, None] + areas[1][None] - shared_MN), np.float64)


def _assign(tracks: Sequence[_Open], frame: int, faces: Sequence[Face]) -> dict[int, int]:
    """Number of a face -> number of the track that it goes on with."""
    if not tracks or not faces:
        return {}
    boxes_N4 = np.stack([face.box_4 for face in faces])
    expected_MN = overlaps(np.stack([track.expected(frame) for track in tracks]), boxes_N4)
    last_MN = overlaps(np.stack([track.faces[-1].box_4 for track in tracks]), boxes_N4)
    # A head that turns back is nearer to where it was; of two that cross, each goes on.
    worth_MN = expected_MN + last_MN / 2
    worth_MN[np.maximum(expected_MN, last_MN) < _LEAST_OVERLAP] = 0.0
    rows, columns = linear_sum_assignment(worth_MN, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {column: row for row, column in pairs if worth_MN[row, column] > 0}


def _is_steady(track: _Open, looked: Sequence[int], least_frames: int) -> bool:
    first, last = track.frames[0], track.frames[-1]
    num_looked = sum(first <= frame <= last for frame in looked)
    return (
        last - first + 1 >= least_frames
        and 2 * len(track.frames) >= num_looked
        and max(face.score for face in track.faces) >= SURE_SCORE
    )


def _close(track: _Open) -> FaceTrack:
    every = np.arange(track.frames[0], track.frames[-1] + 1)
    boxes_N4 = np.stack([face.box_4 for face in track.faces])
    landmarks_N52 = np.stack([face.landmarks_52 for face in track.faces])
    return FaceTrack(
        first=track.frames[0],
        boxes_T4=_between(every, track.frames, boxes_N4),
        landmarks_T52=_between(every, track.frames, landmarks_N52),
        sights=tuple(track.frames),
        score=max(face.score for face in track.faces),
    )


def _between(every: npt.NDArray[np.int64], frames: Sequence[int], values: Points) -> Points:
    flat = values.reshape(len(frames), -1)
    columns = [np.interp(every, frames, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(len(every), *values.shape[1:])


def _centre(box_4: Points) -> Points:
    return (box_4[:2] + box_4[2:]) / 2
