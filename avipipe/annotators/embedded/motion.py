"""How much each part of the picture moves by itself, frame by frame."""

from dataclasses import dataclass

import cv2
import numpy as np

from avipipe.annotators.base import Frames
from avipipe.annotators.embedded.flow import (
    Array,
    DenseFlow,
    camera_flow,
    fit_size,
    follow,
    grey,
    pixel_grid,
    shrink,
)

SHORT_SIDE_PX = 180
"""Size at which motion is measured, and the unit of all speeds in px/frame: a choice between cost
and what is seen of small motion."""
BLOCK_PX = 8
"""Side of a block: averages over flow's own noise, and makes 40x22 places of a 16:9 picture. A
choice."""


@dataclass(frozen=True, slots=True)
class BlockMotion:
    """Motion in blocks of 8 px of a picture whose short side is 180 px; 0 in the first frame.

    Attributes:
        speed_TYX: mean speed without the camera's, px/frame.
        acceleration_TYX: mean change of velocity along the path of each pixel, px/frame².
        change_TYX: mean absolute change of luma that the camera does not explain.
        camera_T: mean speed of the camera, px/frame.
    """

    speed_TYX: Array
    acceleration_TYX: Array
    change_TYX: Array
    camera_T: Array


def block_motion(frames_THWC: Frames) -> BlockMotion:
    """Measure motion between each frame and the one before."""
    height, width = frames_THWC.shape[1:3]
    size = fit_size((width, height), SHORT_SIDE_PX / min(height, width))
    # Pictures that are smaller still are measured as they are, in the same unit.
    unit = SHORT_SIDE_PX / min(size)
    columns, rows = pixel_grid(size)
    flow = DenseFlow()
    previous, velocity = grey(shrink(frames_THWC[0], size)), None
    still = np.zeros_like(_blocks(previous))
    speed, acceleration, change, camera_px = [still], [still], [still], [0.0]
    for frame_HWC in frames_THWC[1:]:
        current = grey(shrink(frame_HWC, size))
        back = flow(current, previous)
        camera = camera_flow(back)
        now = camera - back
        speed.append(unit * _blocks(np.linalg.norm(now, axis=-1)))
        steadied = follow(previous, columns + camera[..., 0], rows + camera[..., 1])
        change.append(_blocks(cv2.absdiff(current, steadied)))
        if velocity is None:
            acceleration.append(still)
        else:
            before = follow(velocity, columns + back[..., 0], rows + back[..., 1])
            acceleration.append(unit * _blocks(np.linalg.norm(now - before, axis=-1)))
        camera_px.append(unit * float(np.linalg.norm(camera, axis=-1).mean()))
        previous, velocity = current, now
    return BlockMotion(
        np.stack(speed),
        np.stack(acceleration),
        np.stack(change),
        np.asarray(camera_px, np.float32),
    )


def _blocks(image: Frames | Array) -> Array:
    height, width = image.shape
    across, down = max(1, width // BLOCK_PX), max(1, height // BLOCK_PX)
    whole = image[: down * BLOCK_PX, : across * BLOCK_PX].astype(np.float32)
    return np.asarray(cv2.resize(whole, (across, down), interpolation=cv2.INTER_AREA))
