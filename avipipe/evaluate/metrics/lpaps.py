"""LPAPS: how far a sound is from another, by the stages of CLAP's HTSAT.

The stages of its audio tower give one array (tokens, channels) each: `extractors.htsat`.

Source: the name is of Iashin and Rahtu, Taming visually guided sound generation (BMVC 2021); this
form of HilaManor/AudioEditingCode@f324c19, evals/lpaps.py and evals/utils.py.
"""

from collections.abc import Callable, Sequence
from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.metrics.undefined import Undefined, require_finite

Stage = npt.NDArray[np.floating[Any]]
"""Output (tokens, channels) of one stage."""
Stages = Sequence[Stage]
"""Of the four stages, from fine to coarse."""

WINDOW_S = 10.0
"""The network's own length; longer sound would reach it as a random crop."""
OVERLAP = 0.1
"""Share of a window that the next one covers again; AudioEditingCode's."""
_TINY = 1e-10  # keeps silence from dividing by 0; LPIPS'


def lpaps_zeus(a: Stages, b: Stages) -> float:
    """LPAPS as published in tables: features are normalised over *tokens*, not over channels.

    The reference takes its (B, tokens, channels) for LPIPS' (B, channels, ...); numbers of
    published tables have this in them.

    Args:
        a, b: stages of one window of either sound.
    Returns:
        Sum over stages of the mean over channels; 0 for the same sound.
    Raises:
        Undefined: a feature is not finite.
    """
    return float(sum(stage_distances(a, b, normalised_axis=0)))


def lpaps_channels(a: Stages, b: Stages) -> float:
    """LPAPS as LPIPS defines it: each token is normalised over its channels; mean over tokens.

    Raises:
        Undefined: a feature is not finite.
    """
    return float(sum(stage_distances(a, b, normalised_axis=1)))


def stage_distances(a: Stages, b: Stages, *, normalised_axis: int) -> list[float]:
    """The summands of LPAPS, one a stage, as `lpaps_zeus` (axis 0) or `lpaps_channels` (axis 1).

    Raises:
        Undefined: a feature is not finite.
    """
    distances = []
    for a_TC, b_TC in zip(a, b, strict=True):
        difference = _normal(a_TC, normalised_axis) - _normal(b_TC, normalised_axis)
        distances.append(float((difference**2).sum(axis=normalised_axis).mean()))
    return distances


def mean_over_windows(
    distance: Callable[[Stages, Stages], float], windows: Sequence[tuple[Stages, Stages]]
) -> float:
    """Mean of a distance over pairs of windows.

    Raises:
        Undefined: there is no window, or a feature is not finite.
    """
    if not windows:
        raise Undefined("one of the sounds is empty")
    return float(np.mean(list(starmap(distance, windows))))


def window_spans(
    num_samples: int, *, sample_rate_hz: int, window_s: float = WINDOW_S, overlap: float = OVERLAP
) -> list[tuple[int, int]]:
    """Half-open spans of samples of each window, from every start before the end.

    So the last may be short: a sound of 9.4 s has a second window of its last 0.4 s, which the
    network repeats until it fills 10 s. Windows of two sounds are paired by number, as many as the
    one with fewer has.
    """
    size = int(window_s * sample_rate_hz)
    hop = max(1, int(size * (1 - overlap)))
    return [(start, min(start + size, num_samples)) for start in range(0, num_samples, hop)]


def _normal(features_TC: Stage, axis: int) -> npt.NDArray[np.float64]:
    features = np.asarray(features_TC, np.float64)
    require_finite(features, "features of the sound")
    length = np.sqrt((features**2).sum(axis=axis, keepdims=True))
    return np.asarray(features / (length + _TINY), np.float64)
