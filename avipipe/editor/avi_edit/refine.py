"""From the refiner's logits to a mask that may replace the user's."""

import torch
from torch import Tensor
from torch.nn import functional

THRESHOLDS = (0.02, 0.02, 0.05, 0.1, 0.2)
"""By precision factor, the probability from which a cell is in the mask.

Low, as a focal loss with alpha 0.25 makes the refiner timid. Source: AVI-Edit-Framework@3d6f200.
"""

MIN_SHARE = 0.05
"""A refined mask that keeps less of a frame's mask than this has lost the object."""


def refine_mask(
    logits: Tensor,
    user_mask: Tensor,
    threshold: float | Tensor,
    *,
    previous: Tensor | None = None,
    kernel: int = 3,
    min_share: float = MIN_SHARE,
) -> Tensor:
    """The cells that the refiner keeps: thresholded, closed, and never more than there were.

    A frame in which less than `min_share` of the user's mask would be left keeps its previous mask.

    Args:
        logits: (B, 1, T, h, w).
        user_mask: bool, the same shape.
        threshold: on the probability; one, or one for each sample (B,).
        previous: bool, the mask of the step before; the user's own at first. It only shrinks.
        kernel: cells of the closing, which fills holes and gaps within a frame; 1 closes nothing.
    Returns:
        bool, (B, 1, T, h, w), within `previous`.
    """
    previous = user_mask if previous is None else previous & user_mask
    found = _above(logits, threshold) & previous
    refined = close(found, kernel) & previous
    kept, whole = (mask.sum(dim=(-2, -1), keepdim=True) for mask in (refined, user_mask))
    lost = (kept < min_share * whole) | (kept == 0)
    return torch.where(lost, previous, refined)


def refine_mask_as_released(
    logits: Tensor, user_mask: Tensor, threshold: float | Tensor, *, kernel: int = 3
) -> Tensor:
    """The released step, which may exceed the user's mask and lose the object.

    It closes last, and takes what is outside of the picture for filled.

    Source: AVI-Edit-Framework@3d6f200, diffsynth/pipelines/wan_video_new.py.
    """
    found = _above(logits, threshold) & user_mask
    return ~_dilate(~_dilate(found, kernel), kernel)


def close(mask_B1Thw: Tensor, kernel: int) -> Tensor:
    """Morphological closing of each frame with a square, nothing being outside of the picture."""
    margin = kernel // 2
    wide = functional.pad(mask_B1Thw, (margin, margin, margin, margin))
    closed = ~_dilate(~_dilate(wide, kernel), kernel)
    height, width = mask_B1Thw.shape[-2:]
    return closed[..., margin : margin + height, margin : margin + width]


def _above(logits: Tensor, threshold: float | Tensor) -> Tensor:
    if isinstance(threshold, Tensor):
        threshold = threshold[:, None, None, None, None]
    return torch.sigmoid(logits) > threshold


def _dilate(mask_B1Thw: Tensor, kernel: int) -> Tensor:
    size = (1, kernel, kernel)
    pooled = functional.max_pool3d(mask_B1Thw.float(), size, 1, (0, kernel // 2, kernel // 2))
    return pooled > 0
