"""Puts the source's own pixels around what was edited."""

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask


def composite(
    edited_FHWC: Frames, source_FHWC: Frames, mask_FHW: Mask, *, margin_px: int
) -> Frames:
    """The edited pixels in the mask, the source's beyond a margin around it, a ramp in between."""
    result = source_FHWC.copy()
    for frame, mask_HW in enumerate(mask_FHW):
        if mask_HW.any():
            share_HW1 = _share(mask_HW, margin_px)[..., None]
            mixed = share_HW1 * edited_FHWC[frame] + (1 - share_HW1) * source_FHWC[frame]
            result[frame] = np.rint(mixed)
    return result


def _share(mask_HW: Mask, margin_px: int) -> npt.NDArray[np.float32]:
    """Of the edited picture: 1 in the mask, 0 from `margin_px` away on."""
    away_px = cv2.distanceTransform((~mask_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.clip(1 - away_px / max(margin_px, 1), 0, 1), np.float32)
