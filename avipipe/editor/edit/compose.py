"""From latent cells back to pixels: masks, and the source's own pixels around what was edited."""

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask
from avipipe.editor.avi_edit.sizes import SPATIAL_STRIDE, TEMPORAL_STRIDE


def to_cells(mask_FHW: Mask) -> Mask:
    """Which latent cells (T, h, w) the masks of 4 n + 1 frames touch; as `downsample_mask`."""
    num_frames, height, width = mask_FHW.shape
    rows, columns = height // SPATIAL_STRIDE, width // SPATIAL_STRIDE
    blocks = mask_FHW.reshape(num_frames, rows, SPATIAL_STRIDE, columns, SPATIAL_STRIDE)
    cells: Mask = np.asarray(blocks.any(axis=(2, 4)))
    groups = cells[1:].reshape(-1, TEMPORAL_STRIDE, *cells.shape[1:])
    return np.concatenate([cells[:1], groups.any(axis=1)])


def to_pixels(cells_Thw: Mask) -> Mask:
    """Masks (4 T - 3, 16 h, 16 w) of all pixels in the cells."""
    frames = np.concatenate([cells_Thw[:1], np.repeat(cells_Thw[1:], TEMPORAL_STRIDE, axis=0)])
    return frames.repeat(SPATIAL_STRIDE, axis=1).repeat(SPATIAL_STRIDE, axis=2)


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
