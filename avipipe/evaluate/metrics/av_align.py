"""AV-Align: do onsets of the sound coincide with peaks of the motion? In its versions.

The share of peaks of either kind that have a partner within one frame (intersection over union).
Version 1 lets several onsets use one peak of motion and so can exceed 1; version 2 pairs them one
to one and ignores peaks under 0.1 px. The two are not comparable, and both have a chance level near
published scores (0.3 at 4 fps): `av_align_corrected` subtracts it.

Defined at the video's own size and rate, for scores depend on both: flow is in pixels, and the
tolerance is one frame. The cost is the flow's, 0.13 s a frame of 720p.

Source: Yariv et al., Diverse and aligned audio-to-video generation via text-to-video model
adaptation, AAAI 2024; guyyariv/TempoTokens, av_align.py @34d9502 (v1) and @bf0b1e3 (v2);
JavisVerse/JavisDiT@b505b37, eval/javisbench/src/av_align.py.
"""

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.embedded.flow import grey
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.statistics.shifts import ShiftNull, shift_null, shifted

Array = npt.NDArray[np.float64]

FLOOR_PX = 0.1
"""Mean flow under which version 2 sees no motion; TempoTokens' own."""
_FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""TempoTokens' settings of OpenCV's dense flow, sizes in pixels."""
_JAVIS_EPSILON = 1e-6
"""Added to JavisBench's union, which so has a score, 0, where nothing happens."""


def flow_curve(frames_THW3: Iterable[Frames]) -> Array:
    """Mean magnitude of the optical flow into each frame, float64 (T,), in pixels.

    Entry 0, into which nothing flows, repeats entry 1.

    Args:
        frames_THW3: RGB, uint8, at the video's own size; only two are held at a time.
    Raises:
        Undefined: fewer than two frames.
    """
    curve = [_mean_flow_px(*pair) for pair in pairwise(map(grey, frames_THW3))]
    if not curve:
        raise Undefined("expected at least 2 frames for a flow between them")
    return np.array([curve[0], *curve])


def _mean_flow_px(here_HW: Frames, there_HW: Frames) -> float:
    flow_HW2 = cv2.calcOpticalFlowFarneback(here_HW, there_HW, None, **_FARNEBACK)
    return float(cv2.magnitude(flow_HW2[..., 0], flow_HW2[..., 1]).mean())


def motion_peaks(curve_T: Array, *, fps: Fraction | float, floor_px: float = 0.0) -> Array:
    """Times in seconds of strict local maxima of a flow curve; frame i is at i / fps.

    Args:
        floor_px: peaks below do not count: 0 in version 1, `FLOOR_PX` in version 2.
    """
    inner = curve_T[1:-1]
    is_peak = (inner > curve_T[:-2]) & (inner > curve_T[2:]) & (inner >= floor_px)
    return (np.flatnonzero(is_peak) + 1) / float(fps)


def av_align_v1(onsets_s: Array, peaks_s: Array, *, tolerance_s: float) -> float:
    """AV-Align as first published: many onsets may share a peak; can exceed 1.

    Args:
        onsets_s: of the sound, by `onset_times`.
        peaks_s: of the motion, by `motion_peaks` without a floor.
        tolerance_s: exclusive; 1 / fps in the protocol.
    Raises:
        Undefined: neither onsets nor peaks.
    """
    _require_events(onsets_s, peaks_s)
    matched = _matched_freely(onsets_s, peaks_s, tolerance_s)
    return matched / (len(onsets_s) + len(peaks_s) - matched)


def av_align_javis(onsets_s: Array, peaks_s: Array, *, tolerance_s: float) -> float:
    """AV-Align as JavisBench has it: version 1, and 0 where there are neither onsets nor peaks."""
    matched = _matched_freely(onsets_s, peaks_s, tolerance_s)
    return matched / (len(onsets_s) + len(peaks_s) - matched + _JAVIS_EPSILON)


def av_align_v2(onsets_s: Array, peaks_s: Array, *, tolerance_s: float) -> float:
    """AV-Align as corrected later: one peak for one onset; in [0, 1], higher is better.

    Args:
        onsets_s: of the sound, by `onset_times`.
        peaks_s: of the motion, by `motion_peaks` with `FLOOR_PX`.
        tolerance_s: exclusive; 1 / fps in the protocol.
    Raises:
        Undefined: neither onsets nor peaks.
    """
    _require_events(onsets_s, peaks_s)
    matched = _matched_one_to_one(onsets_s, peaks_s, tolerance_s)
    return matched / (len(onsets_s) + len(peaks_s) - matched)


def av_align_corrected(
    onsets_s: Array, peaks_s: Array, *, tolerance_s: float, duration_s: float
) -> ShiftNull:
    """AV-Align v2 against the sound moved round the clip; `.corrected` is 0 at chance, 1 at best.

    Args:
        onsets_s: of the sound; `peaks_s` of the motion; `tolerance_s` as in `av_align_v2`. A fixed
            tolerance makes clips of different rates comparable.
        duration_s: of the clip.
    Raises:
        Undefined: no onsets or no peaks, a clip of a second or less.
    """
    if not len(onsets_s):
        raise Undefined("the sound has no onsets")
    if not len(peaks_s):
        raise Undefined("the motion has no peaks")

    def score(shift_s: float) -> float:
        moved_s = shifted(onsets_s, shift_s, duration_s=duration_s)
        return av_align_v2(moved_s, peaks_s, tolerance_s=tolerance_s)

    return shift_null(score, duration_s=duration_s)


def _require_events(onsets_s: Array, peaks_s: Array) -> None:
    if not len(onsets_s) and not len(peaks_s):
        raise Undefined("the sound has no onsets and the motion no peaks")


def _near(onset_s: float, peaks_s: Array, tolerance_s: float) -> npt.NDArray[np.bool_]:
    return (peaks_s - tolerance_s < onset_s) & (onset_s < peaks_s + tolerance_s)


def _matched_freely(onsets_s: Array, peaks_s: Array, tolerance_s: float) -> int:
    return sum(bool(_near(onset_s, peaks_s, tolerance_s).any()) for onset_s in onsets_s)


def _matched_one_to_one(onsets_s: Array, peaks_s: Array, tolerance_s: float) -> int:
    """In the order of the lists; where they are sorted no matching has more pairs."""
    is_free = np.ones(len(peaks_s), np.bool_)
    matched = 0
    for onset_s in onsets_s:
        near = np.flatnonzero(_near(onset_s, peaks_s, tolerance_s) & is_free)
        if len(near):
            is_free[near[0]] = False
            matched += 1
    return matched
