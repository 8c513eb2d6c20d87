"""Warp error: how much a video differs from itself along the optical flow.

Squared difference of RGB values in [0, 1] between a frame and the next one brought back along the
flow, times 1000; lower is better. No public code fixes its details; ours: frames at a short side of
240 px, where DIS finds flow in 2 ms without weights; pixels that leave the frame do not count,
occlusions do.

Flow of the *source* (usual) also asks whether the edit kept the motion, and is the same for all
methods; flow of the edit itself asks for steadiness alone, which a frozen frame has.

Source: Lai et al., Learning blind video temporal consistency, ECCV 2018 (the measure); Kroeger et
al., Fast optical flow using dense inverse search, ECCV 2016 (DIS, OpenCV).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.embedded.flow import follow, grey, pixel_grid
from avipipe.evaluate.metrics.undefined import Undefined, require_finite, require_frames

Values = npt.NDArray[np.float32]
Flow = npt.NDArray[np.float32]
"""(H, W, 2): where each pixel of a frame is in the next, x and y in pixels."""

_SCALE = 1000.0
"""As errors of this kind are printed."""


@dataclass(frozen=True, slots=True)
class WarpError:
    """Errors, times 1000, means over the pairs of frames.

    `valid` is over the pixels that stay in the frame: the one to report. `zero_filled` takes those
    that leave it as black, `diluted` divides the valid sum by all pixels.
    """

    valid: float
    zero_filled: float
    diluted: float
    valid_share: float


def warp_error(video_THW3: npt.NDArray[np.generic], flows: Sequence[Flow]) -> WarpError:
    """Mean squared error of each frame against the next, sampled along the flow between them.

    Args:
        video_THW3: RGB, uint8, or float32 in [0, 1].
        flows: T - 1 fields, from each frame to the next, at the same size.
    Raises:
        Undefined: fewer than two frames, another number or size of fields, flow that is not finite,
            or a pair in which every pixel leaves the frame.
    """
    require_frames(video_THW3, 2)
    if len(flows) != len(video_THW3) - 1:
        raise Undefined(f"expected {len(video_THW3) - 1} flow fields, got {len(flows)}")
    pairs = zip(pairwise(map(_unit, video_THW3)), flows, strict=True)
    errors_P4 = np.array([_pair_error(*frames, flow) for frames, flow in pairs])
    return WarpError(*map(float, errors_P4.mean(axis=0)))


def dis_flows(frames_THW3: Iterable[Frames]) -> list[Flow]:
    """Flow from each frame to the next by DIS, float32 (H, W, 2) in pixels.

    Args:
        frames_THW3: RGB, uint8, at a short side of 240 px.
    """
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    greys = [grey(frame) for frame in frames_THW3]
    return [dis.calc(here, there, None) for here, there in pairwise(greys)]


def _pair_error(
    here_HW3: Values, there_HW3: Values, flow_HW2: Flow
) -> tuple[float, float, float, float]:
    """(valid, zero-filled, diluted, valid share) of one pair."""
    if flow_HW2.shape[:2] != here_HW3.shape[:2]:
        raise Undefined(f"expected flow of {here_HW3.shape[:2]}, got {flow_HW2.shape[:2]}")
    require_finite(flow_HW2, "flow vectors")
    height, width = here_HW3.shape[:2]
    columns, rows = pixel_grid((width, height))
    columns, rows = columns + flow_HW2[..., 0], rows + flow_HW2[..., 1]
    is_valid = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
    if not is_valid.any():
        raise Undefined("the flow leads every pixel out of the frame")
    brought_HW3 = follow(there_HW3, columns, rows)
    squares_HW, black_HW = _mean_square(brought_HW3 - here_HW3), _mean_square(here_HW3)
    valid = _SCALE * float(squares_HW[is_valid].sum(dtype=np.float64))
    black = _SCALE * float(black_HW[~is_valid].sum(dtype=np.float64))
    num = is_valid.size
    num_valid = np.count_nonzero(is_valid)
    return valid / num_valid, (valid + black) / num, valid / num, num_valid / num


def _mean_square(values_HW3: Values) -> Values:
    return np.asarray(np.einsum("hwc,hwc->hw", values_HW3, values_HW3) / np.float32(3))


def _unit(frame_HW3: npt.NDArray[np.generic]) -> Values:
    values = frame_HW3.astype(np.float32)
    return values / np.float32(255) if frame_HW3.dtype == np.uint8 else values
