"""Metrics of whether what is seen and what is heard happen together."""

from collections.abc import Callable, Iterator
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.metric import Metric
from avipipe.evaluate.metrics import av_align
from avipipe.evaluate.metrics.onsets import ONSET_RATE_HZ, onset_times
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.views import Frames, MediaView

_FLOW = "farneback-1"
"""Names the curve in the store, with its version."""
_CHUNK = 8
"""Pictures whose flow is asked for at once: at their own size a clip of them takes gigabytes."""


Curve = npt.NDArray[np.float64]


def _flow_curve(view: CaseView) -> Curve:
    """Mean flow into each recorded picture of the edit, in pixels; measured once for a file."""
    made = view.cached(view.edit, _FLOW, lambda: _measured_flow(view.edit))
    curve_T = np.asarray(made, np.float64)
    return np.zeros_like(curve_T) if view.control == "frozen" else curve_T


def _measured_flow(media: MediaView) -> Curve:
    frames: Iterator[Frames] = (frame.copy() for frame in media.recorded())
    parts: list[Curve] = []
    last = list(islice(frames, 1))
    while more := list(islice(frames, _CHUNK)):
        parts.append(av_align.flow_curve(np.stack([*last, *more]))[1:])
        last = more[-1:]
    if not parts:
        raise Undefined("the edit has one picture: nothing moves")
    return np.array([parts[0][0], *chain.from_iterable(parts)])


def _events(view: CaseView, floor_px: float) -> tuple[Curve, Curve, float]:
    """Onsets of the sound and peaks of the motion in seconds, and the tolerance, one picture."""
    fps = float(view.edit.file.info.video.fps)
    peaks_s = av_align.motion_peaks(_flow_curve(view), fps=fps, floor_px=floor_px)
    wave_N = view.edit_wave(ONSET_RATE_HZ).mean(axis=0)
    return onset_times(wave_N), peaks_s, 1 / fps


def _aligned(function: Callable[..., float], floor_px: float) -> Callable[[CaseView], float]:
    def measure(view: CaseView) -> float:
        onsets_s, peaks_s, tolerance_s = _events(view, floor_px)
        return function(onsets_s, peaks_s, tolerance_s=tolerance_s)

    return measure


def _corrected(view: CaseView) -> float:
    onsets_s, peaks_s, tolerance_s = _events(view, av_align.FLOOR_PX)
    return av_align.av_align_corrected(
        onsets_s, peaks_s, tolerance_s=tolerance_s, duration_s=view.edit.looked_s
    ).corrected


_EVENTS = (
    "Onsets of the mono sound at 22.05 kHz as librosa picks them; peaks of Farneback's mean flow "
    "at the edit's own size and rate; partners are less than one picture apart."
)


def _metric(measure: Callable[[CaseView], float], words: str, protocol: str) -> Metric:
    return Metric(
        measure=measure,
        needs=("sound",),
        sense="higher",
        family="synchrony",
        words=words,
        protocol=f"{_EVENTS} {protocol}",
    )


SYNCHRONY: dict[str, Metric] = {
    "avalign.v2": _metric(
        _aligned(av_align.av_align_v2, av_align.FLOOR_PX),
        "The share of onsets and of peaks of motion that have a partner; chance is near 0.3.",
        "Intersection over union, one peak for one onset, none under 0.1 px (TempoTokens since "
        "February 2025).",
    ),
    "avalign.corrected": _metric(
        _corrected,
        "The same above chance: 0 is what a sound moved round the clip has, 1 the best.",
        "As avalign.v2, less the mean over evenly spaced circular shifts of the sound.",
    ),
    "avalign.v1": _metric(
        _aligned(av_align.av_align_v1, 0.0),
        "As first published: many onsets may share a peak, so that it can exceed 1.",
        "Intersection over union without pairing (TempoTokens before February 2025).",
    ),
    "avalign.javis": _metric(
        _aligned(av_align.av_align_javis, 0.0),
        "As JavisBench has it: the first version, 0 where nothing happens.",
        "As avalign.v1, with 1e-6 added to the union (JavisDiT).",
    ),
}
"""By TempoTokens' and JavisDiT's own code; version 2 has a floor for motion, 1 has none."""
