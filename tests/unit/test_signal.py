from fractions import Fraction

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from avipipe.annotators.overlap import find_two_voices
from avipipe.annotators.pitch import track_pitch
from avipipe.annotators.signal import (
    check_wave,
    mel_spectrogram,
    mfcc,
    onset_strength,
    onset_times,
    power_spectrogram,
    resample,
    rms_envelope,
    running_median,
    spectral_flux,
)
from avipipe.annotators.tones import find_tones
from avipipe.errors import AnnotatorError
from tests.sounds import RATE_HZ, harmonics, knocks, music, noise, voice

KNOCKS_S = (0.5, 1.2, 1.9, 2.61, 3.7, 4.4)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30000, 1001), Fraction(10)])
def test_onsets_are_strongest_in_their_own_frame(rate_hz: int, fps: Fraction) -> None:
    wav_N = resample(knocks(KNOCKS_S), from_hz=RATE_HZ, to_hz=rate_hz)
    strength_T = onset_strength(wav_N, sample_rate_hz=rate_hz, fps=fps)
    assert strength_T.dtype == np.float32
    loudest = set(np.argsort(-strength_T)[: 2 * len(KNOCKS_S)].tolist())
    for time_s in KNOCKS_S:
        assert {int(time_s * fps), int((time_s + 0.015) * fps)} & loudest


def test_onset_times_are_exact_to_two_hops() -> None:
    times_s = onset_times(spectral_flux(knocks(KNOCKS_S), sample_rate_hz=RATE_HZ))
    assert times_s == pytest.approx(KNOCKS_S, abs=0.02)


def test_steady_noise_has_no_onsets() -> None:
    assert not len(onset_times(spectral_flux(noise(0.1), sample_rate_hz=RATE_HZ)))


@settings(max_examples=30, deadline=None)
@given(
    num_samples=st.integers(1, 30_000),
    rate_hz=st.sampled_from([8_000, 11_025, 48_000]),
    fps=st.fractions(5, 60, max_denominator=1001),
)
def test_envelopes_have_one_value_a_video_frame(
    num_samples: int, rate_hz: int, fps: Fraction
) -> None:
    wav_N = noise(0.1, duration_s=num_samples / RATE_HZ)[:num_samples]
    num_frames = max(1, round(num_samples / rate_hz * fps))
    for envelope in (onset_strength, rms_envelope):
        values_T = envelope(wav_N, sample_rate_hz=rate_hz, fps=fps)
        assert values_T.shape == (num_frames,)
        assert np.isfinite(values_T).all()
        assert (values_T >= 0).all()


def test_rms_envelope_follows_the_level() -> None:
    wav_N = np.concatenate([np.zeros(RATE_HZ), np.full(RATE_HZ, 0.5)]).astype(np.float32)
    envelope_T = rms_envelope(wav_N, sample_rate_hz=RATE_HZ, fps=Fraction(10))
    assert envelope_T == pytest.approx([0.0] * 10 + [0.5] * 10)


def test_a_full_scale_sine_has_power_one_in_its_bin() -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    wav_N = np.sin(2 * np.pi * 1_000 * time_s).astype(np.float32)
    power_FK = power_spectrogram(wav_N, sample_rate_hz=RATE_HZ, window_s=0.032)
    assert power_FK[50].argmax() == 32
    assert power_FK[50].max() == pytest.approx(1.0, rel=1e-3)


def test_cepstra_but_the_first_do_not_depend_on_level() -> None:
    wav_N = noise(0.1)
    loud, quiet = (
        mfcc(mel_spectrogram(gain * wav_N, sample_rate_hz=RATE_HZ)) for gain in (1.0, 0.1)
    )
    assert np.allclose(loud[10:-10, 1:], quiet[10:-10, 1:], atol=0.01)
    assert (loud[10:-10, 0] > quiet[10:-10, 0]).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_running_median_is_the_median(axis: int) -> None:
    values = np.random.default_rng(0).random((23, 31)).astype(np.float32)
    size = (7, 1) if axis == 0 else (1, 7)
    expected = scipy.ndimage.median_filter(values, size=size, mode="nearest")
    assert np.array_equal(running_median(values, 7, axis=axis), expected)


@pytest.mark.parametrize("wav_N", [np.zeros(0), np.array([0.0, np.nan]), np.array([np.inf])])
def test_audio_that_cannot_be_trusted_is_refused(wav_N: np.ndarray) -> None:
    with pytest.raises(AnnotatorError):
        check_wave(wav_N, sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize("pitch_hz", [90.0, 150.0, 260.0, 380.0])
def test_pitch_is_found_within_two_percent(pitch_hz: float) -> None:
    track = track_pitch(harmonics(pitch_hz, duration_s=1.0), sample_rate_hz=RATE_HZ)
    assert track.voiced_F[5:-5].all()
    assert np.median(track.f0_F) == pytest.approx(pitch_hz, rel=0.02)


def test_noise_has_no_pitch() -> None:
    assert track_pitch(noise(0.1), sample_rate_hz=RATE_HZ).voiced_F.mean() < 0.05


def test_a_chord_is_three_tones_and_not_one_series() -> None:
    chord_hz = [440.0, 523.25, 659.26]
    wav_N = sum((harmonics(hz, num_partials=2) for hz in chord_hz), start=noise())
    tones = find_tones(wav_N, sample_rate_hz=RATE_HZ)
    for pitch in (69.0, 72.0, 76.0):
        assert np.abs(tones.pitch_n - pitch).min() < 0.05
    assert tones.energy_ratio > 0.8
    assert np.median(tones.polyphony()) == 6
    assert tones.one_series() < 0.8


def test_a_major_chord_is_not_one_series_either() -> None:
    chord_hz = [440.0, 550.0, 660.0]
    wav_N = sum((harmonics(hz, num_partials=6) for hz in chord_hz), start=noise())
    assert find_tones(wav_N, sample_rate_hz=RATE_HZ).one_series() < 0.8


def test_a_horn_is_one_series() -> None:
    assert find_tones(harmonics(231.0), sample_rate_hz=RATE_HZ).one_series() > 0.98


def test_a_siren_is_no_steady_tone() -> None:
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    hz = 700.0 + 250.0 * np.sin(2 * np.pi * 1.5 * time_s)
    wav_N = np.sin(2 * np.pi * np.cumsum(hz) / RATE_HZ).astype(np.float32)
    assert find_tones(wav_N, sample_rate_hz=RATE_HZ).energy_ratio < 0.1
    assert find_tones(music(), sample_rate_hz=RATE_HZ).energy_ratio > 0.3


@pytest.mark.parametrize("seed", range(3))
def test_two_voices_need_two_series(seed: int) -> None:
    def share(wav_N: np.ndarray) -> float:
        found = find_two_voices(wav_N, sample_rate_hz=RATE_HZ)
        return float(found.double_F.sum() / found.judged_F.sum())

    one, other = (voice(speaker, seed=seed)[0] for speaker in (0, 1))
    assert share(one) < 0.013
    assert share(other) < 0.013
    assert share(one + other) > 0.02
