"""Loudness and SI-SDR on sounds whose level and noise are known."""

import numpy as np
import pytest

from avipipe.annotators.base import Wave
from avipipe.evaluate.metrics.kl_divergence import kl_divergence
from avipipe.evaluate.metrics.loudness import loudness_difference_lu, loudness_lufs
from avipipe.evaluate.metrics.si_sdr import in_events, si_sdr_db
from avipipe.evaluate.metrics.undefined import Undefined

RATE_HZ = 16000


def noise(seed: int, *, duration_s: float = 2.0) -> Wave:
    wav = np.random.default_rng(seed).standard_normal(int(duration_s * RATE_HZ))
    return (0.1 * wav).astype(np.float32)


def test_loudness_of_the_standard_s_own_tone() -> None:
    """BS.1770: a sine of 997 Hz at full scale in one channel has -3.01 LUFS."""
    time_s = np.arange(48000 * 3) / 48000
    tone_CN = np.sin(2 * np.pi * 997 * time_s).astype(np.float32)[None]
    assert loudness_lufs(tone_CN, sample_rate_hz=48000) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("gain_db", [-12.0, 0.0, 3.0])
def test_loudness_difference_is_the_gain(gain_db: float) -> None:
    source = np.stack([noise(1), noise(2)])
    edit = source[:, :RATE_HZ] * np.float32(10 ** (gain_db / 20))
    found = loudness_difference_lu(source, edit, sample_rate_hz=RATE_HZ)
    assert found == pytest.approx(gain_db, abs=0.2)


@pytest.mark.parametrize(
    ("wav", "reason"),
    [
        (np.zeros((1, 0)), "no samples"),
        (np.zeros((1, RATE_HZ)), "silent"),
        (np.full((1, RATE_HZ), np.nan), "NaN"),
        (np.ones((1, 100)), "at least 0.4 s of sound, got 0.01"),
        (np.ones((6, RATE_HZ)), "up to 5 channels, got 6"),
        (1e-6 * noise(3)[None], "silent"),
        (np.where(np.arange(RATE_HZ) == 9000, 1e-3, 0.0)[None], "below -70 LUFS"),
    ],
)
def test_loudness_that_is_not_defined(wav: Wave, reason: str) -> None:
    with pytest.raises(Undefined, match=reason):
        loudness_lufs(wav.astype(np.float32), sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize("ratio_db", [-5.0, 0.0, 20.0])
def test_si_sdr_is_the_ratio_of_independent_noise(ratio_db: float) -> None:
    reference, added = noise(1), noise(2)
    estimate = np.float32(0.3) * (reference + added * np.float32(10 ** (-ratio_db / 20)))
    assert si_sdr_db(reference, estimate) == pytest.approx(ratio_db, abs=0.2)


def test_si_sdr_knows_a_copy_at_any_level_and_offset() -> None:
    assert si_sdr_db(noise(1), noise(1)) == 100.0
    assert si_sdr_db(noise(1), 0.25 * noise(1) + np.float32(0.1)) > 90.0
    assert si_sdr_db(noise(1), noise(2)) < -30.0


def test_si_sdr_inside_and_outside_of_an_event() -> None:
    source = noise(1)
    inside = in_events([(0.5, 1.0), (1.5, 9.0)], num=len(source), sample_rate_hz=RATE_HZ)
    assert inside.sum() == RATE_HZ
    edit = np.where(inside, noise(2), source)
    assert si_sdr_db(source, edit, counted_N=~inside) == 100.0
    assert si_sdr_db(source, edit, counted_N=inside) < -30.0


def test_si_sdr_that_is_not_defined() -> None:
    with pytest.raises(Undefined, match="the estimate is silent"):
        si_sdr_db(noise(1), np.full_like(noise(1), 0.3))
    with pytest.raises(Undefined, match="the reference is silent"):
        si_sdr_db(np.zeros_like(noise(1)), noise(1))
    with pytest.raises(Undefined, match="to have the shape"):
        si_sdr_db(noise(1), noise(1)[1:])
    with pytest.raises(Undefined, match="no samples of the reference"):
        si_sdr_db(noise(1), noise(1), counted_N=np.zeros(len(noise(1)), np.bool_))


def test_divergence_of_known_odds() -> None:
    even, uneven = np.log([1.0, 1.0]), np.log([3.0, 1.0])
    assert kl_divergence(even, even) == 0.0
    assert kl_divergence(even, uneven) == pytest.approx(0.5 * np.log(4 / 3))
    with pytest.raises(Undefined, match="NaN"):
        kl_divergence(even, even * np.nan)
