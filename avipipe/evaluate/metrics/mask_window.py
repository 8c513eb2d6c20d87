"""The part of a picture that a mask covers, so that no more of it is computed than counts."""

import cv2
import numpy as np

from avipipe.annotators.base import Mask


def around(mask_HW: Mask, *, margin_px: int = 0) -> tuple[slice, slice]:
    """Rows and columns that a mask covers, and a margin on each side as far as the picture goes."""
    x, y, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    return (
        slice(max(0, y - margin_px), y + height + margin_px),
        slice(max(0, x - margin_px), x + width + margin_px),
    )
