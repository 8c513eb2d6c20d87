"""How well an edit keeps the background of the sound: scale-invariant SDR.

In dB, higher is better; at the sound's own rate. The reference is the source's background (its
whole sound where nothing else was to be changed), the estimate the edit's sound, or the background
separated from it. Outside the event's window both hold background alone, so no separation is
needed there; inside, the estimate holds the new sound too, unless it was separated.

Source: Le Roux et al., SDR - half-baked or well done?, ICASSP 2019.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from avipipe.annotators.base import Wave
from avipipe.evaluate.metrics.undefined import require_same_shape, require_sound

Samples = npt.NDArray[np.bool_]

_LIMIT_DB = 100.0
"""Scores are kept within plus and minus this, so that an exact copy has a number: below the
rounding of 16-bit audio, 98 dB under full scale."""


def _ends_after_it_begins(span: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= span[0] < span[1] < float("inf"):
        raise ValueError("expected a beginning and a later end, in seconds")
    return span


EventSpan = Annotated[tuple[float, float], AfterValidator(_ends_after_it_begins)]
"""[start_s, end_s) of an event, checked where a manifest is read."""


def si_sdr_db(reference_N: Wave, estimate_N: Wave, *, counted_N: Samples | None = None) -> float:
    """Scale-invariant signal-to-distortion ratio in [-100, 100] dB, means removed.

    Args:
        reference_N: mono, float32 [-1, 1]; `estimate_N` likewise, of the same length.
        counted_N: samples that count, joined: those of `in_events` or their complement.
    Raises:
        Undefined: no samples, another length, NaN, infinity, or silence on either side.
    """
    require_same_shape(reference_N, estimate_N, "estimate")
    if counted_N is not None:
        require_same_shape(reference_N, counted_N, "samples that count")
        reference_N, estimate_N = reference_N[counted_N], estimate_N[counted_N]
    reference = _centred(reference_N, "reference")
    estimate = _centred(estimate_N, "estimate")
    target = reference * ((estimate @ reference) / (reference @ reference))
    signal, noise = float((target**2).sum()), float(((estimate - target) ** 2).sum())
    limit = 10.0 ** (_LIMIT_DB / 10)
    if signal >= limit * noise:
        return _LIMIT_DB
    if noise >= limit * signal:
        return -_LIMIT_DB
    return 10.0 * float(np.log10(signal / noise))


def in_events(events_s: Sequence[EventSpan], *, num: int, sample_rate_hz: int) -> Samples:
    """Which of `num` samples lie in an event, bool (N,).

    Args:
        events_s: half-open [start_s, end_s), in any order; parts beyond the sound are left out.
    """
    inside_N = np.zeros(num, np.bool_)
    for start_s, end_s in events_s:
        start, end = (max(0, round(time_s * sample_rate_hz)) for time_s in (start_s, end_s))
        inside_N[start:end] = True
    return inside_N


def _centred(wav_N: Wave, what: str) -> npt.NDArray[np.float64]:
    require_sound(wav_N, what)
    centred_N = np.asarray(wav_N.astype(np.float64) - wav_N.mean(dtype=np.float64))
    require_sound(centred_N, what)
    return centred_N
