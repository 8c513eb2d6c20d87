"""Classical separation by when something sounds: gated Wiener filtering, and what is steady."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import scipy.signal

from avipipe.annotators.embedded.separate import HpssSeparator
from avipipe.audio_agent.activity import active_spans, merged, speech_spans
from avipipe.audio_agent.embedded.words import is_steady
from avipipe.audio_agent.schema import AudioSpan, Kind, Removal
from avipipe.audio_agent.tools import Sound

_WINDOW_S = 0.043
"""2048 samples at 48 kHz, a usual window for sound of all kinds."""
_OVERLAP = 4
"""Hops in a window: squared Hann windows a quarter apart add up to a constant."""
_NEAR_S = 1.0
"""Before and after a span: where its background is taken from. A choice."""
_FEWEST_FRAMES = 8
"""Frames, 0.09 s, that make a background; a choice."""
_FADE_S = 0.01
"""Of the edges of what is taken out: short, and without a click."""
_RARE = 0.5
"""What rises above the background for less of the time than this is an event of its own."""

Spectrum = npt.NDArray[np.complex64]
Power = npt.NDArray[np.float64]


class GatedSeparator:
    """Separates all that rises above a steady background while the named kind may sound.

    It hears no meaning. `speech` is taken while a VAD hears speech; `sfx` and `music` while
    anything rises above the background outside speech; a query that names something steady
    (engine, hum, fan, noise, rain) is what stays the same all the time. Inside the spans, each bin
    is split between the background, as it is just beside the span, and the target (Wiener filter
    by spectral subtraction); outside, the target is exactly zero.

    Source: Boll, Suppression of acoustic noise in speech using spectral subtraction (1979).
    """

    name = "gated (rules)"
    cost_usd: float | None = 0.0
    kinds: ClassVar[frozenset[Kind]] = frozenset({"speech", "music", "sfx"})

    def setup(self) -> None:
        """Nothing to load."""

    def separate(self, mixture: Sound, removal: Removal) -> Sound:
        """Separate the target, (C, N); all zero where nothing of it is heard."""
        if is_steady(removal.query) and not removal.spans:
            stems = HpssSeparator().separate(mixture.wav_CN, sample_rate_hz=mixture.sample_rate_hz)
            return mixture.like(stems.waves["background"])
        spans = _within(spans_of(mixture, removal.kind), removal.spans)
        if not spans:
            return mixture.like(np.zeros_like(mixture.wav_CN))
        return mixture.like(gated(mixture, spans, strength=removal.strength))


def spans_of(mixture: Sound, kind: Kind) -> tuple[AudioSpan, ...]:
    """Spans in which a kind of sound may be heard."""
    speech = speech_spans(mixture)
    active = active_spans(mixture)
    spoken = {
        span for span in active if sum(_overlap_s(span, t) for t in speech) >= 0.5 * span.duration_s
    }
    if kind == "speech":
        # The VAD is late and early by a syllable; what rises around it is speech as well.
        found = merged([*speech, *spoken])
    else:
        found = tuple(span for span in active if span not in spoken)
    if not found and sum(span.duration_s for span in active) < _RARE * mixture.duration_s:
        # The VAD tells a lone bark from a word no better than chance.
        return active
    return found


def _within(found: Sequence[AudioSpan], wanted: Sequence[AudioSpan]) -> Sequence[AudioSpan]:
    """What was found, within what was wanted; all that is wanted if nothing is found there."""
    if not wanted:
        return found
    both = [
        AudioSpan(start_s=max(a.start_s, b.start_s), end_s=min(a.end_s, b.end_s))
        for a in found
        for b in wanted
        if _overlap_s(a, b) > _FADE_S
    ]
    return both or wanted


def _overlap_s(a: AudioSpan, b: AudioSpan) -> float:
    return max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))


def gated(
    mixture: Sound, spans: Sequence[AudioSpan], *, strength: float
) -> npt.NDArray[np.float32]:
    """Separate what rises above the background within spans, (C, N); zero outside them."""
    rate_hz, num = mixture.sample_rate_hz, mixture.wav_CN.shape[1]
    window = max(8, 2 * round(_WINDOW_S * rate_hz / 2))
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.windows.hann(window, sym=False), hop=max(1, window // _OVERLAP), fs=rate_hz
    )
    padded_CN = np.pad(mixture.wav_CN, ((0, 0), (0, max(0, window - num))))
    mixture_CKF = transform.stft(padded_CN).astype(np.complex64)
    power_KF = (np.abs(mixture_CKF).astype(np.float64) ** 2).mean(axis=0)
    times_F = transform.t(padded_CN.shape[1])
    mask_KF = np.zeros(power_KF.shape)
    beside_F = ~_inside(times_F, spans, margin_s=_WINDOW_S / 2)
    for span in spans:
        inside_F = _inside(times_F, [span], margin_s=_WINDOW_S / 2)
        background_K = _background(power_KF, times_F, beside_F, span)
        mask_KF[:, inside_F] = _wiener(power_KF[:, inside_F], background_K, strength)
    target_CN = transform.istft(mixture_CKF * mask_KF, k1=padded_CN.shape[1])[:, :num]
    return np.asarray(target_CN * _gate(spans, num, rate_hz), dtype=np.float32)


def _background(
    power_KF: Power,
    times_F: npt.NDArray[np.float64],
    beside_F: npt.NDArray[np.bool_],
    span: AudioSpan,
) -> Power:
    """Mean power of the background (K,), in the second on either side where there is enough."""
    near_F = beside_F & (times_F > span.start_s - _NEAR_S) & (times_F < span.end_s + _NEAR_S)
    for chosen_F in (near_F, beside_F):
        if chosen_F.sum() >= _FEWEST_FRAMES:
            return np.asarray(power_KF[:, chosen_F].mean(axis=1))
    return np.zeros(power_KF.shape[0])


def _wiener(power_KF: Power, background_K: Power, strength: float) -> Power:
    """Share of the target in each bin.

    The power of a background in single bins is scattered widely about its mean; so is that of a
    target. Smoothed over neighbours, it tells which of both a bin belongs to.
    """
    smooth_KF = scipy.ndimage.uniform_filter(power_KF, (3, 3), mode="nearest")
    over_KF = smooth_KF / np.maximum(background_K[:, None], 1e-20)
    share_KF = np.maximum(1.0 - 1.0 / np.maximum(over_KF, 1e-20), 0.0)
    # Twice as strong: the share that is left is squared.
    return np.asarray(1.0 - (1.0 - share_KF) ** strength)


def _inside(
    times_F: npt.NDArray[np.float64], spans: Sequence[AudioSpan], *, margin_s: float
) -> npt.NDArray[np.bool_]:
    inside_F = np.zeros(times_F.shape, np.bool_)
    for span in spans:
        inside_F |= (times_F > span.start_s - margin_s) & (times_F < span.end_s + margin_s)
    return inside_F


def _gate(spans: Sequence[AudioSpan], num: int, rate_hz: int) -> npt.NDArray[np.float32]:
    """1 inside the spans, 0 outside, with slopes inside, so nothing outside is touched."""
    inside_N = np.zeros(num + 2, np.bool_)
    for span in spans:
        inside_N[1 + round(span.start_s * rate_hz) : 1 + round(span.end_s * rate_hz)] = True
    # The ends of the audio are no edges: what sounds there needs no fade.
    inside_N[[0, -1]] = inside_N[[1, -2]]
    depth_N = scipy.ndimage.distance_transform_edt(inside_N)[1:-1]
    return np.clip(depth_N / (_FADE_S * rate_hz), 0, 1).astype(np.float32)
