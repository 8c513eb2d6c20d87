"""AV-Align against the numbers of TempoTokens, JavisBench, librosa and OpenCV."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from avipipe.evaluate.metrics.av_align import (
    FLOOR_PX,
    Array,
    av_align_javis,
    av_align_v1,
    av_align_v2,
    flow_curve,
    motion_peaks,
)
from avipipe.evaluate.metrics.onsets import onset_strength, onset_times
from avipipe.evaluate.metrics.undefined import Undefined
from tests.parity.metric_fixtures import Arrays, arrays, close, named

EXACT = 1e-12


@pytest.fixture(scope="module")
def align() -> Arrays:
    return arrays("avalign")


def cases(align: Arrays) -> Iterator[tuple[int, Array, Array, float]]:
    """Number, onsets, peaks and tolerance of each pair of lists."""
    lists = [
        np.split(align[f"{kind}_peaks"], np.cumsum(align[f"{kind}_len"])[:-1])
        for kind in ("audio", "video")
    ]
    for index, (onsets, peaks, fps) in enumerate(zip(*lists, align["fps"], strict=True)):
        yield index, onsets, peaks, 1 / fps


def test_lists_of_peaks(align: Arrays) -> None:
    for index, onsets, peaks, tolerance_s in cases(align):
        javis = av_align_javis(onsets, peaks, tolerance_s=tolerance_s)
        close(javis, align["score_javis"][index], EXACT)
        for version, score in (("v1", av_align_v1), ("v2", av_align_v2)):
            expected = align[f"score_{version}"][index]
            if np.isnan(expected):
                with pytest.raises(Undefined):
                    score(onsets, peaks, tolerance_s=tolerance_s)
                continue
            found = score(onsets, peaks, tolerance_s=tolerance_s)
            close(found, expected, EXACT)
            matches = align[f"matches_{version}"][index]
            close(found, matches / max(1, len(onsets) + len(peaks) - matches), EXACT)


def test_peaks_of_curves(align: Arrays) -> None:
    for key in named(align, r"(curve\d+)"):
        curve, fps = align[key], float(align[f"{key}_fps"])
        close(motion_peaks(curve, fps=fps), align[f"{key}_peaks_v1"], EXACT)
        found = motion_peaks(curve, fps=fps, floor_px=FLOOR_PX)
        close(found, align[f"{key}_peaks_v2"], EXACT)


def test_flow(align: Arrays) -> None:
    frames = align["video_bgr"][..., ::-1]
    curve, fps = flow_curve(np.ascontiguousarray(frames)), float(align["video_fps"])
    np.testing.assert_allclose(curve, align["flow_curve"], rtol=1e-4)
    close(motion_peaks(curve, fps=fps), align["video_peaks_v1"], EXACT)
    close(motion_peaks(curve, fps=fps, floor_px=FLOOR_PX), align["video_peaks_v2"], EXACT)
    height, width, _ = align["resized_min40_shape"]
    resized = np.stack([cv2.resize(frame, (int(width), int(height))) for frame in frames])
    expected = align["flow_curve_resized_min40"]
    np.testing.assert_allclose(flow_curve(resized), expected, rtol=1e-4)


def test_onsets_and_the_whole(align: Arrays) -> None:
    wav = align["audio_int16_22050"].astype(np.float32) / np.float32(32768)
    close(onset_strength(wav), align["onset_envelope"], 1e-4)
    onsets = onset_times(wav)
    close(onsets, align["audio_peak_times"], EXACT)
    fps = float(align["video_fps"])
    curve = flow_curve(np.ascontiguousarray(align["video_bgr"][..., ::-1]))
    every, clear = motion_peaks(curve, fps=fps), motion_peaks(curve, fps=fps, floor_px=FLOOR_PX)
    close(av_align_v1(onsets, every, tolerance_s=1 / fps), align["score_v1_e2e"], EXACT)
    close(av_align_v2(onsets, clear, tolerance_s=1 / fps), align["score_v2_e2e"], EXACT)
    close(av_align_javis(onsets, every, tolerance_s=1 / fps), align["score_javis_e2e"], EXACT)
