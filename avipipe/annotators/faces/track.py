"""Joins the faces of single frames to tracks.

Every frame between the first and the last sight of a face gets a box, so faces need not be looked
for in every frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avipipe.annotators.faces.detect import SURE_SCORE, Face, Points
from avipipe.annotators.tracking import link


@dataclass(frozen=True, slots=True, eq=False)
class FaceTrack:
    """Track of one face in frames `first` … `first + T - 1`.

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


def track_faces(
    seen: Mapping[int, Sequence[Face]],
    *,
    cuts: Sequence[int] = (),
    max_gap_frames: int,
    least_frames: int,
) -> list[FaceTrack]:
    """Link faces to tracks, in the order of their first frames, then from left to right.

    Args:
        seen: frame -> faces in it, for every frame that was looked at, ascending.
        cuts: frames that begin another shot; no track goes on over one.
        max_gap_frames: how long a face may be unseen.
        least_frames: shorter tracks are dropped, and so are those that never reach `SURE_SCORE`
            or are seen in less than half of the frames looked at.
    """
    looked = sorted(seen)
    boxes = {frame: np.array([face.box_4 for face in faces]) for frame, faces in seen.items()}
    closed = []
    for chain in link(boxes, cuts=cuts, max_gap_frames=max_gap_frames):
        faces = [seen[f][n] for f, n in zip(chain.frames, chain.numbers, strict=True)]
        if _is_steady(chain.frames, faces, looked, least_frames):
            closed.append(_close(chain.frames, faces))
    return sorted(closed, key=lambda track: (track.first, track.boxes_T4[0, 0]))


def _is_steady(
    frames: Sequence[int], faces: Sequence[Face], looked: Sequence[int], least_frames: int
) -> bool:
    first, last = frames[0], frames[-1]
    num_looked = sum(first <= frame <= last for frame in looked)
    return (
        last - first + 1 >= least_frames
        and 2 * len(frames) >= num_looked
        and max(face.score for face in faces) >= SURE_SCORE
    )


def _close(frames: Sequence[int], faces: Sequence[Face]) -> FaceTrack:
    every = np.arange(frames[0], frames[-1] + 1)
    boxes_N4 = np.stack([face.box_4 for face in faces])
    landmarks_N52 = np.stack([face.landmarks_52 for face in faces])
    return FaceTrack(
        first=frames[0],
        boxes_T4=_between(every, frames, boxes_N4),
        landmarks_T52=_between(every, frames, landmarks_N52),
        sights=tuple(frames),
        score=max(face.score for face in faces),
    )


def _between(every: npt.NDArray[np.int64], frames: Sequence[int], values: Points) -> Points:
    flat = values.reshape(len(frames), -1)
    columns = [np.interp(every, frames, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(len(every), *values.shape[1:])
