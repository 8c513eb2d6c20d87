"""Coarse groups of sounds by rule: speech, music, impact, sustained, noise. It names no things."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators.base import HEARING_HZ, Speech, Tags, Wave
from avipipe.annotators.signal import (
    Array,
    check_wave,
    mel_spectrogram,
    onset_times,
    resample,
    spectral_flux,
    to_db,
)
from avipipe.annotators.tones import Tones, find_tones

_HOP_S = 0.01
"""That of the spectra of `signal`."""
_SILENCE_DBFS = -75.0
"""Level of the loudest frame under which a clip is silence; a choice."""
_SHORTEST_S = 0.25
"""Shortest sound that is measured: less is a single event at most. A choice."""
_SHORTEST_MUSIC_S = 1.0
"""Shortest sound in which notes can be told from one note; a choice."""
_SHARP_RISE_DB = 9.0
"""Rise of the level, averaged over the bands, that makes an onset a stroke; a choice."""
_BURST_S = 0.13
"""Time after a stroke whose energy counts as its own; a choice."""


class RuleTagger:
    """Tags by rules over a handful of measurements, each in `details`; nothing is learnt.

    * speech: share of the time that the VAD calls speech.
    * music: how sure it is that several notes sound together. Steady tones, two or more at a time,
      hold a fair share of the energy, their pitches lie on one grid of semitones, and one harmonic
      series does not explain them. A drum has no tones, a voice no steady ones; hum, engines, horns
      and one bowed or blown line are a single series, and count as sustained.
    * impact: share of the energy in the 130 ms after sharp onsets, beyond their share of time.
    * sustained: share of the energy in steady tones that are not music.
    * noise: spectral flatness of what sounds.
    """

    name = "rules"
    version = 1

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def tag(self, wav_N: Wave, *, sample_rate_hz: int, speech: Speech) -> Tags:
        """Score mono audio (N,).

        Returns:
            No scores at all for silence and for less than a quarter of a second; no music score
            for less than a second.
        Raises:
            AnnotatorError: the audio is empty or not finite.
        """
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        duration_s = wav_N.shape[0] / sample_rate_hz
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=HEARING_HZ)
        mel_FM = mel_spectrogram(wav_N, sample_rate_hz=HEARING_HZ, low_hz=100.0)
        energy_F = mel_FM.sum(axis=1)
        loudest_db = float(to_db(energy_F, floor_db=-120.0).max())
        if duration_s < _SHORTEST_S or loudest_db < _SILENCE_DBFS:
            return Tags(scores={}, confidence=None)

        tones = find_tones(wav_N, sample_rate_hz=HEARING_HZ)
        flux_F = spectral_flux(wav_N, sample_rate_hz=HEARING_HZ)
        details = {
            **_tone_details(tones),
            "onset_rate_hz": len(onset_times(flux_F)) / duration_s,
            "beat": _beat(flux_F),
            "burst": _burst(energy_F, flux_F),
            "flatness": _flatness(mel_FM, energy_F),
        }
        speech_s = sum(turn.end_s - turn.start_s for turn in speech.turns)
        music = _music(details)
        scores = {
            "speech": min(1.0, speech_s / duration_s),
            "impact": max(0.0, details["burst"]),
            "sustained": details["tone_energy"] * (1.0 - music),
            "noise": details["flatness"],
        }
        if duration_s < _SHORTEST_MUSIC_S:
            return Tags(scores=scores, confidence=None, details=details)
        # Three seconds hold enough notes, or enough of their absence, to be sure of either.
        sureness = abs(2.0 * music - 1.0) * min(1.0, duration_s / 3.0)
        return Tags(scores={**scores, "music": music}, confidence=sureness, details=details)


def _tone_details(tones: Tones) -> dict[str, float]:
    """What the steady tones say; `tuning` is Rayleigh's statistic of pitches on a semitone grid.

    Each quarter-tone that is heard has one vote, or one long hum would pass for a tuned scale. By
    chance `tuning` is about 1; one harmonic series of 30 partials reaches 5.
    """
    polyphony_F = tones.polyphony()
    nearest = np.round(tones.pitch_n * 4.0).astype(np.int64)
    pitches = np.unique(nearest)
    angles = [np.angle(np.exp(2j * np.pi * tones.pitch_n[nearest == p]).mean()) for p in pitches]
    resultant = abs(np.exp(1j * np.array(angles)).mean()) if angles else 0.0
    return {
        "tone_time": float((polyphony_F >= 2).mean()),
        "tone_energy": tones.energy_ratio,
        "num_pitches": float(len(pitches)),
        "tuning": float(len(pitches) * resultant**2),
        "one_series": tones.one_series(),
    }


def _music(details: Mapping[str, float]) -> float:
    """As sure as the weakest of four signs, each in [-1, 1] around the point of doubt."""
    signs = (
        (details["tone_time"] - 0.5) / 0.2,
        float(np.log2(max(details["tone_energy"], 1e-6) / 0.04)),
        (details["tuning"] - 7.0) / 3.0,
        (0.9 - details["one_series"]) / 0.05,
    )
    return float(scipy.special.expit(3.0 * np.clip(min(signs), -1.0, 1.0)))


def _beat(flux_F: Array) -> float:
    """Highest autocorrelation of the onset strength at lags of 0.25 to 1.5 s, in [0, 1]."""
    centred_F = flux_F.astype(np.float64) - flux_F.mean()
    first, last = round(0.25 / _HOP_S), round(1.5 / _HOP_S)
    power = float((centred_F**2).sum())
    if power <= 0 or len(centred_F) < 2 * last:
        return 0.0
    lags = [float((centred_F[lag:] * centred_F[:-lag]).sum()) for lag in range(first, last)]
    return max(0.0, min(1.0, max(lags) / power))


def _burst(energy_F: Array, flux_F: Array) -> float:
    """Share of energy right after sharp onsets, from 0 (as much as of time) to 1 (all of it)."""
    near_F: npt.NDArray[np.bool_] = np.zeros(energy_F.shape, dtype=bool)
    for time_s in onset_times(flux_F, smallest_rise_db=_SHARP_RISE_DB):
        first = round(time_s / _HOP_S)
        near_F[max(0, first - 2) : first + round(_BURST_S / _HOP_S)] = True
    of_time = float(near_F.mean())
    if of_time in (0.0, 1.0):
        return of_time
    of_energy = float(energy_F[near_F].sum(dtype=np.float64) / energy_F.sum(dtype=np.float64))
    return (of_energy - of_time) / (1.0 - of_time)


def _flatness(mel_FM: Array, energy_F: Array) -> float:
    """Geometric over arithmetic mean of the mel bands, averaged by energy."""
    mean_F = mel_FM.mean(axis=1) + 1e-12
    flat_F = np.exp(np.log(mel_FM + 1e-12).mean(axis=1)) / mean_F
    return float(np.average(np.minimum(flat_F, 1.0), weights=energy_F))
