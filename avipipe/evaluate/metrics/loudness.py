"""Integrated loudness of a sound, and by how much an edit changes it.

At the sound's own rate and channels, 48 kHz being what the standard is written for.

Source: ITU-R BS.1770-4, by pyloudnorm.
"""

import numpy as np
import pyloudnorm

from avipipe.annotators.base import Wave
from avipipe.evaluate.metrics.undefined import Undefined, require_sound

_BLOCK_S = 0.4
"""A gating block of BS.1770; less than one has no integrated loudness."""
_MAX_CHANNELS = 5
"""BS.1770 weighs L, R, C, Ls, Rs."""


def loudness_lufs(wav_CN: Wave, *, sample_rate_hz: int) -> float:
    """Integrated loudness in LUFS, gated.

    Args:
        wav_CN: float32 [-1, 1], up to 5 channels.
    Raises:
        Undefined: no sound, less than 0.4 s, silence, no block above -70 LUFS, NaN,
            infinity, or more channels.
    """
    require_sound(wav_CN)
    num_channels, num = wav_CN.shape
    if num_channels > _MAX_CHANNELS:
        raise Undefined(f"loudness is defined up to {_MAX_CHANNELS} channels, got {num_channels}")
    if num < _BLOCK_S * sample_rate_hz:
        raise Undefined(f"expected at least {_BLOCK_S} s of sound, got {num / sample_rate_hz:.2f}")
    meter = pyloudnorm.Meter(sample_rate_hz)
    lufs = float(meter.integrated_loudness(wav_CN.T.astype(np.float64)))
    if not np.isfinite(lufs):
        raise Undefined("the sound is below -70 LUFS, the gate of the standard")
    return lufs


def loudness_difference_lu(source_CN: Wave, edit_CN: Wave, *, sample_rate_hz: int) -> float:
    """Loudness of the edit minus that of its source in LU; 0 is unchanged.

    Lengths and channels may differ. Args and errors as in `loudness_lufs`.
    """
    edit = loudness_lufs(edit_CN, sample_rate_hz=sample_rate_hz)
    return edit - loudness_lufs(source_CN, sample_rate_hz=sample_rate_hz)
