"""How an editor's own mask depends on how precise a mask it was given.

Source: AVI-Edit, the robustness of its mask refiner over the precision factor p, from 0 (exact) to
P (a box).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from avipipe.annotators.base import Mask
from avipipe.evaluate.metrics.davis import Scores, mask_agreement
from avipipe.evaluate.metrics.undefined import Undefined


@dataclass(frozen=True, slots=True)
class MaskCurve:
    """Agreement with the exact mask at each precision factor, sorted by it."""

    precision_P: Scores
    j_P: Scores
    f_P: Scores

    @property
    def jf(self) -> Scores:
        """J&F at each precision factor."""
        return (self.j_P + self.f_P) / 2

    @property
    def mean_jf(self) -> float:
        """Mean height of the J&F curve over the precision factor (trapezoids), in [0, 1]."""
        span = self.precision_P[-1] - self.precision_P[0]
        return float(np.trapezoid(self.jf, self.precision_P) / span)


def mask_curve(truth_THW: Mask, masks_by_precision: Mapping[int, Mask]) -> MaskCurve:
    """J and F of masks against the exact one, by the precision factor they were made with.

    All frames count, at the size of the exact mask.

    Args:
        truth_THW: the exact masks.
        masks_by_precision: precision factor p -> masks (T, H, W) that the editor used.
    Raises:
        Undefined: fewer than two precision factors, or what `mask_agreement` raises.
    """
    if len(masks_by_precision) < 2:
        raise Undefined(f"a curve needs two precision factors, got {len(masks_by_precision)}")
    levels = sorted(masks_by_precision)
    found = [
        mask_agreement(truth_THW, masks_by_precision[level], given_ends=False) for level in levels
    ]
    return MaskCurve(
        np.array(levels, dtype=np.float64),
        np.array([each.j for each in found]),
        np.array([each.f for each in found]),
    )
