"""Structural similarity of pictures: whole, zero-filled around a mask, and as a map inside it.

In [-1, 1], higher is better. Gaussian window of 11 taps, sigma 1.5, borders reflected, per channel
of RGB in [0, 1], then the mean; `ssim_uniform` alone has a flat window. Defined at a short side of
480 px on every 8th frame, as FiVE-Bench measures: the window is a fixed number of pixels, so size
moves the number.

Source: Wang et al., Image quality assessment, IEEE TIP 2004; torchmetrics 1.9.0, functional/image/
ssim.py with data_range=1.0; MinghanLi/FiVE-Bench@737b30e, evaluation/metrics_calculator.py.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames, Mask
from avipipe.evaluate.metrics.mask_window import around
from avipipe.evaluate.metrics.undefined import Undefined, require_frames, require_same_shape

Values = npt.NDArray[np.float32]

# Window of Wang et al., in pixels.
_TAPS = 11
_SIGMA_PX = 1.5

_UNIFORM_TAPS = 7
"""Side in pixels of the flat window that scikit-image takes where it is told none."""

_C1, _C2 = 0.01**2, 0.03**2
"""Keep quotients of flat pictures finite; Wang et al., for values in [0, 1]."""

_MIDDLE = np.float32(0.5)
"""Of the values; variances of values around zero keep the digits that float32 has."""


def ssim(source_THW3: Frames, edit_THW3: Frames) -> float:
    """Mean SSIM of whole frames.

    Args:
        source_THW3: RGB, uint8; `edit_THW3` likewise, of the same shape.
    Raises:
        Undefined: no frame, or another shape.
    """
    require_same_shape(source_THW3, edit_THW3)
    require_frames(source_THW3, 1)
    maps = (ssim_map(source, edit) for source, edit in zip(source_THW3, edit_THW3, strict=True))
    return float(np.mean([values_HW.mean(dtype=np.float64) for values_HW in maps]))


def ssim_uniform(source_THW3: Frames, edit_THW3: Frames) -> float:
    """Mean SSIM of whole frames as scikit-image has it where it is told nothing.

    A flat window of 7 x 7, variances of a sample (divided by 48), and only windows that lie within
    the frame.

    Args:
        source_THW3: RGB, uint8; `edit_THW3` likewise, of the same shape.
    Raises:
        Undefined: no frame, another shape, or frames smaller than the window.
    Source: scikit-image 0.26.0, `structural_similarity` with channel_axis=-1.
    """
    require_same_shape(source_THW3, edit_THW3)
    require_frames(source_THW3, 1)
    if min(source_THW3.shape[1:3]) < _UNIFORM_TAPS:
        raise Undefined(f"frames of {source_THW3.shape[1:3]} hold no window of {_UNIFORM_TAPS} px")
    num = _UNIFORM_TAPS**2
    inner = slice(_UNIFORM_TAPS // 2, -(_UNIFORM_TAPS // 2))
    scores = [
        _channel_map(source_HW3[..., c], edit_HW3[..., c], _flat_mean, num / (num - 1))[
            inner, inner
        ]
        for source_HW3, edit_HW3 in zip(source_THW3, edit_THW3, strict=True)
        for c in range(3)
    ]
    return float(np.mean([values_HW.mean(dtype=np.float64) for values_HW in scores]))


def ssim_zero_fill(source_THW3: Frames, edit_THW3: Frames, inside_THW: Mask) -> float:
    """Mean SSIM of frames that are black outside a mask, as FiVE and AudioScenic measure it.

    Black is like black, so this is about share * S + (1 - share) for a mask that covers `share`:
    small masks inflate it. `ssim_inside` does not.

    Args:
        source_THW3: RGB, uint8; `edit_THW3` likewise, of the same shape.
        inside_THW: what is compared: the edited instance, or its complement for the background.
    Raises:
        Undefined: another shape, or no frame with a mask. Frames without one do not count.
    """
    scores = []
    for source, edit, inside in _masked_frames(source_THW3, edit_THW3, inside_THW):
        window = around(inside, margin_px=_TAPS - 1)
        mask_HW1 = inside[window][..., None]
        values_HW = ssim_map(source[window] * mask_HW1, edit[window] * mask_HW1)
        # Beyond the window's reach both are black, which scores exactly 1.
        scores.append(1.0 + float((values_HW - 1.0).sum(dtype=np.float64)) / inside.size)
    return float(np.mean(scores))


def ssim_inside(
    source_THW3: Frames, edit_THW3: Frames, inside_THW: Mask, *, is_eroded: bool = True
) -> float:
    """Mean of the SSIM map inside a mask, from frames that nothing is blacked out in.

    Args:
        source_THW3: RGB, uint8; `edit_THW3` likewise, of the same shape.
        inside_THW: what is compared.
        is_eroded: only pixels whose whole window lies inside the mask and the frame count.
    Raises:
        Undefined: another shape, or no pixel that counts. Frames without one do not count.
    """
    scores = []
    for source, edit, inside in _masked_frames(source_THW3, edit_THW3, inside_THW):
        counted = _eroded(inside) if is_eroded else inside
        if counted.any():
            window = around(inside, margin_px=_TAPS // 2)
            values_HW = ssim_map(source[window], edit[window])
            scores.append(float(values_HW[counted[window]].mean(dtype=np.float64)))
    if not scores:
        raise Undefined(f"the mask nowhere holds a window of {_TAPS} x {_TAPS} px")
    return float(np.mean(scores))


def ssim_map(source_HW3: Frames, edit_HW3: Frames) -> Values:
    """SSIM of each pixel, mean of the channels, float32 (H, W)."""
    # One channel at a time stays in the processor's cache: a third less time.
    channels = (
        _channel_map(source_HW3[..., c], edit_HW3[..., c], _gaussian_mean) for c in range(3)
    )
    return np.asarray(sum(channels) / np.float32(3))


def _channel_map(
    source_HW: Frames,
    edit_HW: Frames,
    window_mean: Callable[[Values], Values],
    of_sample: float = 1.0,
) -> Values:
    """SSIM of each pixel; `of_sample` multiplies variances."""
    source, edit = _centred(source_HW), _centred(edit_HW)
    mean_s, mean_e = window_mean(source), window_mean(edit)
    covariance = window_mean(source * edit)
    covariance -= mean_s * mean_e
    covariance *= of_sample
    variances = window_mean(source * source + edit * edit)
    variances -= mean_s * mean_s + mean_e * mean_e
    variances *= of_sample
    mean_s += _MIDDLE
    mean_e += _MIDDLE
    upper = 2 * mean_s * mean_e + _C1
    upper *= 2 * covariance + _C2
    lower = mean_s * mean_s + mean_e * mean_e + _C1
    lower *= variances + _C2
    upper /= lower
    return upper


def _centred(channel_HW: Frames) -> Values:
    return channel_HW * np.float32(1 / 255) - _MIDDLE


def _flat_mean(values_HW: Values) -> Values:
    blurred: Values = cv2.blur(values_HW, (_UNIFORM_TAPS, _UNIFORM_TAPS))
    return blurred


def _gaussian_mean(values_HW: Values) -> Values:
    blurred: Values = cv2.GaussianBlur(
        values_HW, (_TAPS, _TAPS), _SIGMA_PX, borderType=cv2.BORDER_REFLECT_101
    )
    return blurred


def _eroded(mask_HW: Mask) -> Mask:
    kernel = np.ones((_TAPS, _TAPS), np.uint8)
    outside = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    return np.asarray(cv2.erode(mask_HW.astype(np.uint8), kernel, **outside) > 0)


def _masked_frames(
    source_THW3: Frames, edit_THW3: Frames, inside_THW: Mask
) -> list[tuple[Frames, Frames, Mask]]:
    require_same_shape(source_THW3, edit_THW3)
    require_same_shape(source_THW3[..., 0], inside_THW, "mask")
    triples = zip(source_THW3, edit_THW3, inside_THW, strict=True)
    masked = [triple for triple in triples if triple[2].any()]
    if not masked:
        raise Undefined("the mask is empty in every frame")
    return masked
