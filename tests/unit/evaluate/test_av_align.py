"""AV-Align on flashes of motion and clicks whose lag is known, at the usual frame rates."""

from fractions import Fraction

import numpy as np
import pytest

from avipipe.annotators.base import Frames, Wave
from avipipe.evaluate.metrics.av_align import (
    FLOOR_PX,
    Array,
    av_align_corrected,
    av_align_v1,
    av_align_v2,
    flow_curve,
    motion_peaks,
)
from avipipe.evaluate.metrics.onsets import ONSET_RATE_HZ, onset_times
from avipipe.evaluate.metrics.undefined import Undefined

RATES = [Fraction(4), Fraction(24), Fraction(25), Fraction(30000, 1001)]
DURATION_S = 6.0
EVENTS_S = np.array([0.76, 2.01, 3.53, 4.74])


def jumps(fps: Fraction) -> Frames:
    """A textured square that jumps by 4 px into the frame that shows each event."""
    texture = np.random.default_rng(3).integers(0, 256, (24, 24, 1), dtype=np.uint8)
    frames = np.full((int(DURATION_S * fps), 64, 64, 3), 90, np.uint8)
    for index, frame in enumerate(frames):
        left = 8 + 4 * int((EVENTS_S < (index + 0.5) / fps).sum())
        frame[20:44, left : left + 24] = texture
    return frames


def clicks(lag_s: float) -> Wave:
    """Short decaying tones in silence, `lag_s` after each event."""
    wav = np.zeros(int(DURATION_S * ONSET_RATE_HZ))
    ring_s = np.arange(int(0.08 * ONSET_RATE_HZ)) / ONSET_RATE_HZ
    ring = 0.5 * np.sin(2 * np.pi * 1800 * ring_s) * (1 - ring_s / ring_s[-1]) ** 3
    for event_s in EVENTS_S:
        start = int((event_s + lag_s) * ONSET_RATE_HZ)
        wav[start : start + len(ring)] += ring
    return wav.astype(np.float32)


@pytest.fixture(scope="module")
def peaks_by_rate() -> dict[Fraction, Array]:
    return {fps: motion_peaks(flow_curve(jumps(fps)), fps=fps, floor_px=FLOOR_PX) for fps in RATES}


def test_onsets_are_where_the_clicks_are() -> None:
    found = onset_times(clicks(0.0))
    assert len(found) == len(EVENTS_S)
    assert np.abs(found - EVENTS_S).max() < 0.04


@pytest.mark.parametrize("fps", RATES)
def test_lags_within_a_frame_score_and_longer_do_not(
    peaks_by_rate: dict[Fraction, Array], fps: Fraction
) -> None:
    peaks = peaks_by_rate[fps]
    assert len(peaks) == len(EVENTS_S)
    tolerance_s = 1 / float(fps)
    in_time = av_align_v2(onset_times(clicks(0.0)), peaks, tolerance_s=tolerance_s)
    late = av_align_v2(onset_times(clicks(2 * tolerance_s + 0.05)), peaks, tolerance_s=tolerance_s)
    assert (in_time, late) == (1.0, 0.0)


@pytest.mark.parametrize("fps", RATES)
def test_chance_is_subtracted(peaks_by_rate: dict[Fraction, Array], fps: Fraction) -> None:
    peaks = peaks_by_rate[fps]
    given = {"tolerance_s": 1 / float(fps), "duration_s": DURATION_S}
    right = av_align_corrected(onset_times(clicks(0.0)), peaks, **given)
    wrong = av_align_corrected(onset_times(clicks(0.4)), peaks, **given)
    assert right.corrected == 1.0
    assert right.p_value <= 0.02
    assert right.z > 2.0
    assert wrong.corrected < 0.15


def test_dense_events_score_by_chance_alone() -> None:
    """At four frames a second what does not belong together still scores; corrected it does not."""
    rng = np.random.default_rng(11)
    plain, corrected = [], []
    for _ in range(40):
        onsets, peaks = (np.sort(rng.uniform(0, 10.0, num)) for num in (20, 12))
        found = av_align_corrected(onsets, peaks, tolerance_s=0.25, duration_s=10.0)
        plain.append(found.seen)
        corrected.append(found.corrected)
    assert np.mean(plain) > 0.25
    assert abs(np.mean(corrected)) < 0.05


def test_version_1_counts_a_peak_more_than_once() -> None:
    onsets, peaks = np.array([1.0, 1.01, 1.02, 1.03]), np.array([1.0])
    assert av_align_v1(onsets, peaks, tolerance_s=0.1) == 4.0
    assert av_align_v2(onsets, peaks, tolerance_s=0.1) == 0.25


def test_the_tolerance_is_exclusive() -> None:
    onsets, peaks = np.array([1.25]), np.array([1.0])
    assert av_align_v2(onsets, peaks, tolerance_s=0.25) == 0.0
    assert av_align_v2(onsets, peaks, tolerance_s=0.2501) == 1.0


def test_what_has_no_value_says_why() -> None:
    none, some = np.zeros(0), np.array([1.0, 2.0])
    given = {"tolerance_s": 0.1, "duration_s": 5.0}
    assert av_align_v2(some, none, tolerance_s=0.1) == 0.0
    for score in (av_align_v1, av_align_v2):
        with pytest.raises(Undefined, match="no onsets and the motion no peaks"):
            score(none, none, tolerance_s=0.1)
    with pytest.raises(Undefined, match="no onsets"):
        av_align_corrected(none, some, **given)
    with pytest.raises(Undefined, match="no peaks"):
        av_align_corrected(some, none, **given)
    with pytest.raises(Undefined, match="cannot be shifted"):
        av_align_corrected(some, some, tolerance_s=0.1, duration_s=1.0)
    with pytest.raises(Undefined, match="at least 2 frames"):
        flow_curve(np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(Undefined, match="silent"):
        onset_times(np.zeros(ONSET_RATE_HZ, np.float32))
    with pytest.raises(Undefined, match="no samples"):
        onset_times(np.zeros(0, np.float32))
    with pytest.raises(Undefined, match="NaN"):
        onset_times(np.full(ONSET_RATE_HZ, np.nan, np.float32))
