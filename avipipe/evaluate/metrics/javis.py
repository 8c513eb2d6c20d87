"""JavisScore and AVHScore: picture and sound at the same time, by embeddings of ImageBind.

T frames, M windows, D dimensions.

Source: Liu et al., JavisDiT (arXiv 2503.23377); JavisVerse/JavisDiT@b505b37,
eval/javisbench/src/metrics.py and dataset.py.
"""

from collections.abc import Sequence

import numpy as np

from avipipe.evaluate.metrics.cosine import Features, unit
from avipipe.evaluate.metrics.undefined import Undefined

Span = tuple[int, int]
"""Half-open: the first index, and the one after the last."""

LOWEST_SHARE = 0.4
"""Share of a window's frames whose cosines count, the lowest; JavisDiT's."""


def window_spans(num: int, *, rate: float, window_s: float, overlap_s: float) -> list[Span]:
    """Spans of frames, or of samples, of each window; the last is moved back to end at the end.

    JavisDiT's command line takes windows of 2 s that overlap by 1.5 s, its function by default
    0.5 s and none: scores of the two do not compare. Windows of picture and sound are made apart
    and paired by number, as far as both go (`paired_spans`).

    Args:
        num: frames of the video, or samples of the sound.
        rate: of them in a second.
    Raises:
        Undefined: there is nothing, or windows do not move on.
    """
    size, overlap = int(window_s * rate), int(overlap_s * rate)
    if num < 1:
        raise Undefined("there is no frame or sample")
    if num <= size:
        return [(0, num)]
    if size <= overlap:
        raise Undefined(f"windows of {size} that overlap by {overlap} never end")
    starts = [*range(0, num - size, size - overlap), num - size]
    return [(start, start + size) for start in starts]


def paired_spans(
    *,
    num_frames: int,
    fps: float,
    num_samples: int,
    sample_rate_hz: int,
    window_s: float,
    overlap_s: float,
) -> list[tuple[Span, Span]]:
    """Windows of picture and sound, number by number; one of all where either has no more than one.

    Raises:
        Undefined: there is no picture or sound, or windows do not move on.
    """
    sizes = {"window_s": window_s, "overlap_s": overlap_s}
    frames = window_spans(num_frames, rate=fps, **sizes)
    samples = window_spans(num_samples, rate=sample_rate_hz, **sizes)
    if frames == [(0, num_frames)] or samples == [(0, num_samples)]:
        return [((0, num_frames), (0, num_samples))]
    return list(zip(frames, samples, strict=False))


def javis_score(
    frames_TD: Features,
    audio_windows_MD: Features,
    spans: Sequence[Span],
    *,
    lowest: float | int = LOWEST_SHARE,
) -> float:
    """Mean over windows of the mean of their frames' lowest cosines with the window's sound.

    Args:
        frames_TD: of each frame as a picture.
        audio_windows_MD: of the sound of each window.
        spans: frames of each window.
        lowest: how many cosines of a window count, as a share (floored) or as a whole number.
    Raises:
        Undefined: so few frames in a window that none counts (two or fewer at 0.4: the reference
            gives NaN), or an embedding is zero or not finite.
    """
    scores = []
    for (first, end), audio_D in zip(spans, audio_windows_MD, strict=True):
        cosine_N = unit(frames_TD[first:end]) @ unit(audio_D)
        count = lowest if isinstance(lowest, int) else int(cosine_N.size * lowest)
        if not 1 <= count <= cosine_N.size:
            raise Undefined(
                f"a window has {cosine_N.size} frames, of which {count} would count: the frame "
                "rate is too low for its length"
            )
        scores.append(np.sort(cosine_N)[:count].mean())
    return float(np.mean(scores))


def avh_score(frames_TD: Features, audio_D: Features) -> float:
    """Mean over frames of the cosine with the whole sound, in [-1, 1].

    Raises:
        Undefined: there is no frame, or an embedding is zero or not finite.
    """
    return float((unit(frames_TD) @ unit(audio_D)).mean())
