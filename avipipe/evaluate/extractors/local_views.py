"""What a model is shown of the edited place alone: blacked out around the mask, or cropped to it.

Frames are uint8 RGB (T, H, W, 3), masks bool (T, H, W). Frames whose mask is empty show nothing of
the place and are left out.
"""

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask
from avipipe.evaluate.metrics.mask_window import around
from avipipe.evaluate.metrics.undefined import Undefined, require_same_shape


def blacked_out(frames_THWC: Frames, keep_THW: Mask) -> Frames:
    """All frames, black wherever they are not kept.

    Raises:
        Undefined: masks of another size than the frames.
    Source: "zero fill" of FiVE and PIE-Bench.
    """
    require_same_shape(frames_THWC[..., 0], keep_THW)
    return np.asarray(frames_THWC * keep_THW[..., None], np.uint8)


def masked_views(frames_THWC: Frames, masks_THW: Mask) -> Frames:
    """The frames with a mask, black outside it.

    Raises:
        Undefined: masks of another size than the frames, or all empty.
    Source: MinghanLi/FiVE-Bench@737b30e, `calculate_clip_similarity` with a mask.
    """
    where = _seen(frames_THWC, masks_THW)
    return blacked_out(frames_THWC[where], masks_THW[where])


def cropped_views(frames_THWC: Frames, masks_THW: Mask) -> list[Frames]:
    """The frames with a mask, each cropped to the box of its mask, so each of its own size.

    Raises:
        Undefined: masks of another size than the frames, or all empty.
    Source: FlowAnchor's supplement; it states no margin, and here is none.
    """
    where = _seen(frames_THWC, masks_THW)
    return [
        frame_HWC[around(mask_HW)]
        for frame_HWC, mask_HW in zip(frames_THWC[where], masks_THW[where], strict=True)
    ]


def _seen(frames_THWC: Frames, masks_THW: Mask) -> npt.NDArray[np.intp]:
    require_same_shape(frames_THWC[..., 0], masks_THW)
    where = np.flatnonzero(masks_THW.any(axis=(1, 2)))
    if not len(where):
        raise Undefined("the mask is empty")
    return where
