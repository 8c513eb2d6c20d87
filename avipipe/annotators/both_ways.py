"""What every propagator does around its own step: go both ways from the seed frame."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from avipipe.annotators.base import Frames, Mask, PropagatedMasks
from avipipe.errors import AnnotatorError


class Follower(Protocol):
    """Follows one instance frame by frame, away from the seed frame."""

    def step(self, frame_HWC: Frames) -> tuple[Mask, float]:
        """Go on to the next frame: its mask, and how far it can be trusted, in [0, 1]."""
        ...


def both_ways(
    frames_THWC: Frames,
    *,
    seed_frame: int,
    seed_mask_HW: Mask,
    start: Callable[[Frames, Mask], Follower],
) -> PropagatedMasks:
    """Carry the seed mask to the last frame, then, afresh, to the first.

    Args:
        start: makes a follower from the seed frame and its mask.
    Returns:
        A track whose quality is 1 in the seed frame; its confidence is the mean quality, None for
        an empty seed mask, which gives an empty track.
    Raises:
        AnnotatorError: the mask is not of the frames' size, or the seed frame is not there.
    """
    num_frames = frames_THWC.shape[0]
    if seed_mask_HW.shape != frames_THWC.shape[1:3] or not 0 <= seed_frame < num_frames:
        raise AnnotatorError(
            message=f"expected a mask of size {frames_THWC.shape[1:3]} for one of "
            f"{num_frames} frames, got {seed_mask_HW.shape} for frame {seed_frame}"
        )
    masks_THW = np.zeros(frames_THWC.shape[:3], np.bool_)
    quality_T = np.zeros(num_frames, np.float32)
    if not seed_mask_HW.any():
        return PropagatedMasks(masks_THW, quality_T, None)
    masks_THW[seed_frame], quality_T[seed_frame] = seed_mask_HW, 1.0
    for way in (range(seed_frame + 1, num_frames), range(seed_frame - 1, -1, -1)):
        if way:
            follower = start(frames_THWC[seed_frame], seed_mask_HW)
            for frame in way:
                masks_THW[frame], quality_T[frame] = follower.step(frames_THWC[frame])
    return PropagatedMasks(masks_THW, quality_T, float(quality_T.mean()))
