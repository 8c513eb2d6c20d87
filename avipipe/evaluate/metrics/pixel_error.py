"""Mean squared error and PSNR between an edit and its source, whole, inside or outside a mask.

Values are RGB in [0, 1]. Defined at a short side of 480 px, the size of FiVE-Bench, on every 8th
frame; unlike SSIM they hardly depend on the size.

Source: MinghanLi/FiVE-Bench@737b30e, evaluation/metrics_calculator.py (the sum divided by all
pixels); JunyaoHu/common_metrics_on_video_quality@5f75173, calculate_psnr.py (the ceiling).
"""

import cv2
import numpy as np

from avipipe.annotators.base import Frames, Mask
from avipipe.evaluate.metrics.undefined import Undefined, require_frames, require_same_shape

_SMALLEST_MSE = 1e-10
"""Of values in [0, 1]: equal pictures have 100 dB, as in common_metrics, and not infinity."""


def mse(source_THW3: Frames, edit_THW3: Frames, inside_THW: Mask | None = None) -> float:
    """Mean squared error over the pixels of a mask, mean over frames; in [0, 1], lower is better.

    Args:
        source_THW3: RGB, uint8; `edit_THW3` likewise, of the same shape.
        inside_THW: which pixels count, for instance those outside the edit; None for all.
    Raises:
        Undefined: no frame, another shape, or no frame with a mask. Frames without one do not
            count.
    """
    return float(np.mean([error for error, _ in _errors(source_THW3, edit_THW3, inside_THW)]))


def mse_zero_fill(source_THW3: Frames, edit_THW3: Frames, inside_THW: Mask) -> float:
    """As `mse`, but divided by all pixels, as FiVE has it: multiplied by the mask's share."""
    found = _errors(source_THW3, edit_THW3, inside_THW)
    return float(np.mean([error * share for error, share in found]))


def psnr_db(source_THW3: Frames, edit_THW3: Frames, inside_THW: Mask | None = None) -> float:
    """Peak signal-to-noise ratio over the pixels of a mask, mean of the frames' dB; at most 100.

    Args and errors as in `mse`. Higher is better.
    """
    return _mean_db([error for error, _ in _errors(source_THW3, edit_THW3, inside_THW)])


def psnr_zero_fill_db(source_THW3: Frames, edit_THW3: Frames, inside_THW: Mask) -> float:
    """As `psnr_db`, of `mse_zero_fill`, as FiVE has it: higher by -10 log10 of the mask's share."""
    found = _errors(source_THW3, edit_THW3, inside_THW)
    return _mean_db([error * share for error, share in found])


def _mean_db(errors: list[float]) -> float:
    return float(np.mean(-10.0 * np.log10(np.maximum(errors, _SMALLEST_MSE))))


def _errors(
    source_THW3: Frames, edit_THW3: Frames, inside_THW: Mask | None
) -> list[tuple[float, float]]:
    """Mean squared error inside the mask, and the share of the frame that it covers, per frame."""
    require_same_shape(source_THW3, edit_THW3)
    require_frames(source_THW3, 1)
    if inside_THW is not None:
        require_same_shape(source_THW3[..., 0], inside_THW, "mask")
    found = []
    for frame, (source, edit) in enumerate(zip(source_THW3, edit_THW3, strict=True)):
        mask = None if inside_THW is None else inside_THW[frame].astype(np.uint8)
        num = source[..., 0].size if mask is None else cv2.countNonZero(mask)
        if num:
            total = float(cv2.norm(source, edit, cv2.NORM_L2SQR, mask)) / 255**2
            found.append((total / (3 * num), num / source[..., 0].size))
    if not found:
        raise Undefined("the mask is empty in every frame")
    return found
