"""When something sounds above a steady background."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from avipipe.annotators.base import HEARING_HZ, Speech
from avipipe.annotators.embedded.vad import EnergyVad
from avipipe.annotators.signal import mel_spectrogram, resample, to_db
from avipipe.audio_agent.schema import AudioSpan
from avipipe.audio_agent.tools import Sound

_HOP_S = 0.01
"""That of the spectra of `signal`."""
# Over the median rise of the quieter half: a span begins above the first and lasts above the
# second. Choices.
_ON_DB = 6.0
_OFF_DB = 2.5
# Under the loudest band, or frame: quieter ones count as equally quiet, or as silence. Choices.
_FLOOR_DB = 55.0
_HEARD_DB = 55.0
_SHORTEST_S = 0.03
"""Shorter spans are clicks; a choice."""
_GAP_S = 0.08
"""Spans that are closer are one; a choice."""
# What is added to a span: attacks begin, and echoes end, under the threshold. Choices.
_BEFORE_S = 0.02
_AFTER_S = 0.06
_SILENCE_DBFS = -75.0
"""Level under which a sound is silence; a choice."""


def find_speech(sound: Sound) -> Speech:
    """Find speech turns by the energy VAD."""
    vad = EnergyVad()
    vad.setup()
    return vad.speech(sound.mono(), sample_rate_hz=sound.sample_rate_hz)


def speech_spans(sound: Sound) -> tuple[AudioSpan, ...]:
    """Turns of speech, with what a soft consonant may need before and after."""
    spans = [(turn.start_s - 0.1, turn.end_s + 0.15) for turn in find_speech(sound).turns]
    return _merged(spans, sound.duration_s)


def active_spans(sound: Sound) -> tuple[AudioSpan, ...]:
    """Spans in which the spectrum rises above its usual level, begin and decay included.

    The usual level of each band is its lower quartile over time, so what sounds for more than
    three quarters of the audio counts as background. Levels 55 dB below the loudest count as none.
    """
    wav_N = resample(sound.mono(), from_hz=sound.sample_rate_hz, to_hz=HEARING_HZ)
    level_FM = to_db(mel_spectrogram(wav_N, sample_rate_hz=HEARING_HZ), floor_db=-120.0)
    if float(level_FM.max()) < _SILENCE_DBFS:
        return ()
    level_FM = np.maximum(level_FM, level_FM.max() - _FLOOR_DB)
    smooth_FM = scipy.ndimage.uniform_filter1d(level_FM, 3, axis=0)
    rise_FM = np.maximum(smooth_FM - np.quantile(smooth_FM, 0.25, axis=0), 0)
    # The quarter of the bands that rises most: a whistle has few, a knock has all.
    top = max(1, rise_FM.shape[1] // 4)
    rise_F = np.sort(rise_FM, axis=1)[:, -top:].mean(axis=1)
    noise_db = float(np.median(rise_F[rise_F <= np.quantile(rise_F, 0.5)]))
    spans = _hysteresis(rise_F, on=noise_db + _ON_DB, off=noise_db + _OFF_DB)
    padded = [(start_s - _BEFORE_S, end_s + _AFTER_S) for start_s, end_s in spans]
    return _merged(padded, sound.duration_s)


def heard_spans(sound: Sound) -> tuple[AudioSpan, ...]:
    """Spans in which a lone sound, such as a stem, is within 55 dB of its loudest moment."""
    power_N = (sound.wav_CN.astype(np.float64) ** 2).mean(axis=0)
    hop = max(1, round(_HOP_S * sound.sample_rate_hz))
    power_F = np.add.reduceat(power_N, np.arange(0, power_N.size, hop)) / hop
    level_F = to_db(power_F, floor_db=-120.0)
    if float(level_F.max()) < _SILENCE_DBFS:
        return ()
    loud_db = float(level_F.max())
    spans = _hysteresis(level_F, on=loud_db - _HEARD_DB + 10.0, off=loud_db - _HEARD_DB)
    return _merged(spans, sound.duration_s)


def merged(spans: Iterable[AudioSpan]) -> tuple[AudioSpan, ...]:
    """The union of spans, in order, small gaps closed."""
    pairs = sorted((span.start_s, span.end_s) for span in spans)
    return _merged(pairs, max((end_s for _, end_s in pairs), default=0.0))


def _hysteresis(
    level_F: npt.NDArray[np.floating], *, on: float, off: float
) -> list[tuple[float, float]]:
    regions, _ = scipy.ndimage.label(level_F > off)
    found = []
    for index, (region,) in enumerate(scipy.ndimage.find_objects(regions), start=1):
        if level_F[region][regions[region] == index].max() > on:
            found.append((region.start * _HOP_S, region.stop * _HOP_S))
    return [(start_s, end_s) for start_s, end_s in found if end_s - start_s >= _SHORTEST_S]


def _merged(spans: list[tuple[float, float]], duration_s: float) -> tuple[AudioSpan, ...]:
    joined: list[tuple[float, float]] = []
    for start_s, end_s in spans:
        start_s, end_s = max(0.0, start_s), min(end_s, duration_s)
        if joined and start_s - joined[-1][1] < _GAP_S:
            joined[-1] = (joined[-1][0], max(end_s, joined[-1][1]))
        elif end_s > start_s:
            joined.append((start_s, end_s))
    return tuple(
        AudioSpan(start_s=round(a, 4), end_s=round(b, 4)) for a, b in joined if b - a > 1e-3
    )
