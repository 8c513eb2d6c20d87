"""Puts the source's own pixels around what was edited."""

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask


def composite(
    edited_FHWC: Frames,
    source_FHWC: Frames,
    mask_FHW: Mask,
    *,
    margin_px: int,
    is_seam_within: bool = False,
) -> Frames:
    """The edited pixels in the mask, the source's beyond a margin around it, a ramp in between.

    Args:
        is_seam_within: the margin lies in the mask, and all pixels beyond are the source's.
    """
    share = _share_within if is_seam_within else _share_around
    result = source_FHWC.copy()
    for frame, mask_HW in enumerate(mask_FHW):
        if mask_HW.any():
            share_HW1 = share(mask_HW, margin_px)[..., None]
            mixed = share_HW1 * edited_FHWC[frame] + (1 - share_HW1) * source_FHWC[frame]
            result[frame] = np.rint(mixed)
    return result


def _share_around(mask_HW: Mask, margin_px: int) -> npt.NDArray[np.float32]:
    """Of the edited picture: 1 in the mask, 0 from `margin_px` away on."""
    return np.asarray(np.clip(1 - _away_px(mask_HW) / max(margin_px, 1), 0, 1), np.float32)


def _share_within(mask_HW: Mask, margin_px: int) -> npt.NDArray[np.float32]:
    """Of the edited picture: 0 out of the mask, 1 from `margin_px` within on."""
    if mask_HW.all():
        return np.ones(mask_HW.shape, np.float32)
    return np.asarray(np.clip(_away_px(~mask_HW) / max(margin_px, 1), 0, 1), np.float32)


def _away_px(mask_HW: Mask) -> npt.NDArray[np.float32]:
    """How far each pixel is from a mask that is not empty."""
    return np.asarray(
        cv2.distanceTransform((~mask_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
        np.float32,
    )
