"""Voice activity without a model: what speech does that music, impacts and engines do not."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from avipipe.annotators import tones
from avipipe.annotators.base import HEARING_HZ, Speech, Turn, Wave
from avipipe.annotators.pitch import HOP_S, track_pitch
from avipipe.annotators.signal import (
    Array,
    check_wave,
    mel_spectrogram,
    mfcc,
    resample,
    spectral_flux,
    to_db,
)

# In frames: a second, in which there are a few syllables, every 0.1 s.
_WINDOW = round(1.0 / HOP_S)
_STEP = round(0.1 / HOP_S)
_SHORTEST_S = 0.5
"""Shortest sound that is judged, of half a window; a choice."""
_HIGH_PASS_HZ = 200.0
"""Over the fundamental of deep voices, which keep their pitch without it; rumble, a bass and a drum
lose theirs."""
_SILENCE_DBFS = -75.0
"""Level that 5 % of the frames exceed under which a clip is silence; a choice."""

# Where each sign of speech begins to speak for it, and over what width; the sign is -1 or +1
# beyond that. Widths and middles come from the literature on each and from mixtures of read
# speech, music and noises, in round numbers.
_SIGNS: Mapping[str, tuple[float, float]] = {
    "voiced": (0.35, 0.2),  # share of frames with a pitch
    "continuous": (0.65, 0.2),  # share of voiced frames whose pitch goes on from the last
    "glide": (0.14, 0.06),  # semitones of pitch movement per 10 ms
    "articulation": (1.9, 0.6),  # cepstral change over 60 ms while voiced
    "syllables": (0.54, 0.1),  # share of level modulation at 2 to 8 Hz
    "depth": (0.3, 0.15),  # of that modulation, in nepers
    "tones": (-0.4, 0.3),  # minus: time with two or more steady tones
    "attack": (-22.0, 6.0),  # minus: sharpest onset, in dB
}
_AGAINST = frozenset({"tones", "attack"})


@dataclass(frozen=True, slots=True)
class VadConfig:
    """Thresholds by which speech posteriors become turns.

    Attributes:
        on, off: a turn begins above `on` and lasts while above `off` (hysteresis).
        shortest_turn_s: shorter ones are forgotten.
        longest_gap_s: shorter pauses within speech are part of the turn.
    """

    on: float = 0.65
    off: float = 0.4
    shortest_turn_s: float = 0.25
    longest_gap_s: float = 0.35


class EnergyVad:
    """VAD by energy and spectral shape: eight signs of speech a second, then level per frame.

    A window is speech if the worse half of its signs still speaks for it, so no single sign,
    such as the steady pitch of an engine or the rhythm of a drum, is enough.
    """

    name = "energy"
    version = 1

    def __init__(self, config: VadConfig | None = None) -> None:
        self.config = config or VadConfig()

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def speech(self, wav_N: Wave, *, sample_rate_hz: int) -> Speech:
        """Find speech in mono audio (N,).

        Returns:
            Turns labelled "speech"; confidence None for less than half a second of audio.
        Raises:
            AnnotatorError: the audio is empty or not finite.
        """
        check_wave(wav_N, sample_rate_hz=sample_rate_hz)
        duration_s = wav_N.shape[0] / sample_rate_hz
        if duration_s < _SHORTEST_S:
            return Speech(turns=(), confidence=None)
        wav_N = resample(wav_N, from_hz=sample_rate_hz, to_hz=HEARING_HZ)
        posterior_F = self._posterior(wav_N)
        turns = self._turns(posterior_F, duration_s=duration_s)
        return Speech(turns=turns, confidence=float(np.abs(2.0 * posterior_F - 1.0).mean()))

    def _posterior(self, wav_N: Wave) -> Array:
        """Probability-like score of speech in each 10 ms frame (F,)."""
        mel_FM = mel_spectrogram(wav_N, sample_rate_hz=HEARING_HZ)
        level_F = to_db(mel_FM.sum(axis=1), floor_db=-120.0)
        loud_db = float(np.percentile(level_F, 95))
        if loud_db < _SILENCE_DBFS:
            return np.zeros(level_F.shape, dtype=np.float32)
        speechlike_F = _speechlike(wav_N, mel_FM)
        # Gaps between words: 30 dB below the loud parts, or close to the noise floor.
        floor_db = float(np.percentile(level_F, 5))
        threshold_db = max(loud_db - 30.0, min(floor_db + 6.0, loud_db - 12.0))
        smooth_F = scipy.ndimage.uniform_filter1d(level_F, 5)
        active_F = scipy.special.expit(smooth_F - threshold_db)
        return np.asarray(speechlike_F * active_F, dtype=np.float32)

    def _turns(self, posterior_F: Array, *, duration_s: float) -> tuple[Turn, ...]:
        regions, count = scipy.ndimage.label(posterior_F > self.config.off)
        spans = [
            (span[0].start * HOP_S, min(span[0].stop * HOP_S, duration_s))
            for index, span in enumerate(scipy.ndimage.find_objects(regions), start=1)
            if index <= count and posterior_F[span][regions[span] == index].max() > self.config.on
        ]
        merged: list[tuple[float, float]] = []
        for start_s, end_s in spans:
            if merged and start_s - merged[-1][1] <= self.config.longest_gap_s:
                merged[-1] = (merged[-1][0], end_s)
            else:
                merged.append((start_s, end_s))
        return tuple(
            Turn(start_s=round(start_s, 3), end_s=round(end_s, 3))
            for start_s, end_s in merged
            if end_s - start_s >= self.config.shortest_turn_s
        )


def _speechlike(wav_N: Wave, mel_FM: Array) -> Array:
    """How speech-like the second around each frame is, in [0, 1] (F,)."""
    num_frames = mel_FM.shape[0]
    starts = np.arange(0, max(1, num_frames - _WINDOW + 1), _STEP)
    signs_SW = np.stack(list(_signs(wav_N, mel_FM, starts).values()))
    worse_half_W = np.sort(signs_SW, axis=0)[: signs_SW.shape[0] // 2].mean(axis=0)
    score_W = scipy.special.expit(8.0 * (worse_half_W + 0.1))
    centres = starts + min(_WINDOW, num_frames) / 2
    return np.asarray(np.interp(np.arange(num_frames), centres, score_W), dtype=np.float32)


def _signs(
    wav_N: Wave, mel_FM: Array, starts: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.float64]]:
    """Each sign of speech in [-1, 1] per window (W,)."""
    num_frames = mel_FM.shape[0]
    # Without its fundamental a voice keeps its pitch; rumble, a bass and a drum lose theirs.
    pitch = track_pitch(_high_pass(wav_N), sample_rate_hz=HEARING_HZ)
    voiced_F = pitch.voiced_F[:num_frames]
    step_F = np.abs(np.diff(pitch.semitones[:num_frames], prepend=pitch.semitones[:1]))
    goes_on_F = voiced_F & np.roll(voiced_F, 1) & (step_F < 1.5)
    change_F = _cepstral_change(mel_FM)
    polyphony = tones.find_tones(wav_N, sample_rate_hz=HEARING_HZ).polyphony()
    chord_F = np.repeat(polyphony >= 2, round(tones.HOP_S / HOP_S))[:num_frames]
    flux_F = spectral_flux(wav_N, sample_rate_hz=HEARING_HZ)
    log_mel_FM = np.log(mel_FM + 1e-3 * mel_FM.max())

    rows = []
    for start in starts:
        window = slice(start, start + _WINDOW)
        num_voiced = max(1, int(voiced_F[window].sum()))
        num_going_on = max(1, int(goes_on_F[window].sum()))
        share, depth = _modulation(log_mel_FM[window])
        rows.append(
            (
                voiced_F[window].mean(),
                goes_on_F[window].sum() / num_voiced,
                step_F[window][goes_on_F[window]].sum() / num_going_on,
                change_F[window][voiced_F[window]].sum() / num_voiced,
                share,
                depth,
                -chord_F[window].mean() if chord_F[window].size else 0.0,
                -flux_F[window].max(),
            )
        )
    measured = np.array(rows, dtype=np.float64).T
    return {
        name: np.clip((values - middle) / width, -2.0 if name in _AGAINST else -1.0, 1.0)
        for values, (name, (middle, width)) in zip(measured, _SIGNS.items(), strict=True)
    }


def _high_pass(wav_N: Wave) -> Wave:
    sections = scipy.signal.butter(4, _HIGH_PASS_HZ, "highpass", fs=HEARING_HZ, output="sos")
    return np.asarray(scipy.signal.sosfilt(sections, wav_N), dtype=np.float32)


def _cepstral_change(mel_FM: Array) -> Array:
    cepstrum_FC = mfcc(mel_FM, num_coefficients=13)[:, 1:]
    change_F = np.zeros(mel_FM.shape[0], dtype=np.float32)
    change_F[3:-3] = np.sqrt(((cepstrum_FC[6:] - cepstrum_FC[:-6]) ** 2).mean(axis=1))
    return change_F


def _modulation(log_mel_FM: Array) -> tuple[float, float]:
    """Share of the level modulation at 2 to 8 Hz, where syllables are, and its depth in nepers.

    Source: Scheirer and Slaney, Construction and evaluation of a robust multifeature speech/music
    discriminator (1997), 4 Hz modulation energy.
    """
    centred_FM = log_mel_FM - log_mel_FM.mean(axis=0)
    window_F = np.hanning(len(centred_FM))[:, None]
    power_FM = np.abs(np.fft.rfft(centred_FM * window_F, axis=0)) ** 2
    rate_hz = np.fft.rfftfreq(len(centred_FM), HOP_S)
    syllables = power_FM[(rate_hz >= 2.0) & (rate_hz <= 8.0)].sum()
    audible = power_FM[(rate_hz >= 1.0) & (rate_hz < 30.0)].sum()
    return float(syllables / (audible + 1e-9)), float(centred_FM.std(axis=0).mean())
