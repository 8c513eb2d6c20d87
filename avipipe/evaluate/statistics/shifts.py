"""What a score of sound against picture is by chance: the sound moved round in a circle.

A circular shift keeps the rhythm of both and destroys only that they belong together. Events that
are dense match by chance alone, so the same score means different things for different clips.

Source: circular-shift surrogates as in the statistics of time series; Davison and Hinkley,
Bootstrap methods and their application, 1997, section 4.2 (p with the seen one counted).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Array = npt.NDArray[np.float64]

NUM_SHIFTS = 99
"""Evenly spaced shifts, so that the least p is 0.01; a choice."""
MIN_SHIFT_S = 0.5
"""Shorter shifts are no chance level: the sound still belongs to the picture, only late. A
choice."""
_ALIKE = 1e-9
"""Spread of the null, relative to its size, that is rounding and no spread."""


@dataclass(frozen=True, slots=True)
class ShiftNull:
    """A score with those that shifted sounds reach, `null_S`."""

    seen: float
    null_S: Array

    @property
    def mean(self) -> float:
        """The chance level."""
        return float(self.null_S.mean())

    @property
    def p_value(self) -> float:
        """Chance that a shifted sound scores at least as high, the one that was seen counted."""
        return float((np.count_nonzero(self.null_S >= self.seen) + 1) / (len(self.null_S) + 1))

    @property
    def z(self) -> float:
        """By how many standard deviations of the null the score is above chance.

        Raises:
            Undefined: all shifts score alike.
        """
        spread = float(self.null_S.std(ddof=1))
        if spread <= _ALIKE * max(1.0, float(np.abs(self.null_S).max())):
            raise Undefined("the sound scores the same wherever it is moved to")
        return (self.seen - self.mean) / spread

    @property
    def corrected(self) -> float:
        """(score - chance) / (1 - chance), for scores of at most 1: 1 is perfect, 0 is chance.

        Raises:
            Undefined: chance alone is perfect.
        """
        if self.mean >= 1.0:
            raise Undefined("by chance alone the score is perfect")
        return (self.seen - self.mean) / (1.0 - self.mean)


def shift_null(
    score: Callable[[float], float], *, duration_s: float, num_shifts: int = NUM_SHIFTS
) -> ShiftNull:
    """Score of a clip and its null, without drawing: shifts are evenly spaced over the clip.

    Args:
        score: of the clip with its sound moved round by so many seconds.
        duration_s: of the clip; shifts lie in [0.5 s, duration_s - 0.5 s].
    Raises:
        Undefined: the clip is too short to be shifted; what `score` raises.
    """
    if duration_s <= 2 * MIN_SHIFT_S:
        raise Undefined(
            f"a clip of {duration_s:.2f} s cannot be shifted by {MIN_SHIFT_S} s or more both ways"
        )
    shifts = np.linspace(MIN_SHIFT_S, duration_s - MIN_SHIFT_S, num_shifts)
    null = np.array([score(float(shift_s)) for shift_s in shifts])
    require_finite(null, "shifted scores")
    return ShiftNull(score(0.0), null)


def shifted(times_s: Array, shift_s: float, *, duration_s: float) -> Array:
    """Times moved later by `shift_s`, round the end of the clip, sorted."""
    return np.sort((times_s + shift_s) % duration_s)
