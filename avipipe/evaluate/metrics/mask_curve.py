"""How an editor's own mask depends on how precise a mask it was given.

Source: AVI-Edit, the robustness of its mask refiner over the precision factor p, from 0 (exact) to
P (a box).
"""

from dataclasses import dataclass

import numpy as np

from avipipe.evaluate.metrics.davis import Scores


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
