"""How much an edit changes what it was to leave alone.

Mean absolute difference outside the true mask, in [0, 1], lower is better. It hardly depends on the
size; defined at that of the source, on all frames.
"""

import cv2
import numpy as np

from avipipe.annotators.base import Frames, Mask
from avipipe.evaluate.metrics.undefined import Undefined, require_frames, require_same_shape


def background_leakage(source_THW3: Frames, edit_THW3: Frames, mask_THW: Mask) -> float:
    """Mean absolute difference of RGB values in [0, 1] outside a mask, mean over frames.

    Args:
        source_THW3: RGB, uint8; `edit_THW3` likewise, of the same shape.
        mask_THW: where the edit was wanted: the exact mask, whatever mask the editor was given.
    Raises:
        Undefined: no frame, another shape, or masks that leave no background in any frame. Frames
            without background do not count.
    """
    require_same_shape(source_THW3, edit_THW3)
    require_same_shape(source_THW3[..., 0], mask_THW, "mask")
    require_frames(source_THW3, 1)
    changes = []
    for source, edit, mask in zip(source_THW3, edit_THW3, mask_THW, strict=True):
        outside = (~mask).astype(np.uint8)
        num = cv2.countNonZero(outside)
        if num:
            changes.append(float(cv2.norm(source, edit, cv2.NORM_L1, outside)) / (255 * 3 * num))
    if not changes:
        raise Undefined("the mask leaves no background in any frame")
    return float(np.mean(changes))
