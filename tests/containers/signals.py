"""Pictures that carry their own number, and sound that says when it is.

A picture is a grid of black and white cells: twelve bits of a number, eight bits that check them,
and four corners that show which way is up. It is read back after any scaling and lossy coding.
The sound is one long track of noise; where a piece of it comes from is found by correlation.
"""

import functools
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.signal import correlate, resample_poly

COLUMNS, ROWS = 6, 4
RATE_HZ = 48_000
"""Of the track, and of the sound that is judged."""

_NUM_BITS = 12
_CORNERS = {0: 1, COLUMNS - 1: 1, COLUMNS * (ROWS - 1): 1, COLUMNS * ROWS - 1: 0}
_DATA = [cell for cell in range(COLUMNS * ROWS) if cell not in _CORNERS]
_MIN_CONTRAST = 60.0
_MARGIN = 0.12
_TRACK_S = 80
# Within what 8 kHz telephony carries, and what the coarsest encoder of sound here keeps.
_BAND_HZ = (200.0, 3000.0)
_TRACK_RMS = 0.12
_SEARCH_S = 0.25
_MIN_LIKENESS = 0.45

Wave = npt.NDArray[np.float64]


def draw(number: int) -> npt.NDArray[np.uint8]:
    """The cells (ROWS, COLUMNS) of a number: 0 or 255; to be enlarged without blur."""
    if not 0 <= number < 1 << _NUM_BITS:
        raise ValueError(f"expected a number of {_NUM_BITS} bits, found {number}")
    bits = dict(_CORNERS)
    word = number | _check(number) << _NUM_BITS
    bits |= {cell: word >> place & 1 for place, cell in enumerate(_DATA)}
    flat = [255 * bits[cell] for cell in range(COLUMNS * ROWS)]
    return np.array(flat, np.uint8).reshape(ROWS, COLUMNS)


def read(picture_HW: npt.NDArray[np.uint8]) -> int | None:
    """The number of a grey picture; None where it shows none, or a blend of two."""
    height, width = picture_HW.shape
    means = np.empty(COLUMNS * ROWS)
    for cell in range(COLUMNS * ROWS):
        row, column = divmod(cell, COLUMNS)
        # Only the middle of a cell: its edges bleed.
        top, bottom = (round((row + part) * height / ROWS) for part in (0.3, 0.7))
        left, right = (round((column + part) * width / COLUMNS) for part in (0.3, 0.7))
        means[cell] = picture_HW[top:bottom, left:right].mean()
    white = min(means[cell] for cell, bit in _CORNERS.items() if bit)
    black = max(means[cell] for cell, bit in _CORNERS.items() if not bit)
    if white - black < _MIN_CONTRAST:
        return None
    levels = (means - black) / (white - black)
    if np.any(np.abs(levels - 0.5) < _MARGIN):
        return None
    word = sum(int(levels[cell] > 0.5) << place for place, cell in enumerate(_DATA))
    number = word & (1 << _NUM_BITS) - 1
    return number if word >> _NUM_BITS == _check(number) else None


def _check(number: int) -> int:
    """Eight bits that change with every other bit: neighbours look unlike each other."""
    return (number * 2_654_435_761 & 0xFFFFFFFF) >> 24


@functools.cache
def track() -> Wave:
    """The whole sound, mono, at `RATE_HZ`."""
    count = _TRACK_S * RATE_HZ
    spectrum = np.fft.rfft(np.random.default_rng(11).standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    wave: Wave = np.fft.irfft(spectrum * ((hz > _BAND_HZ[0]) & (hz < _BAND_HZ[1])), count)
    wave *= _TRACK_RMS / np.sqrt(np.mean(wave**2))
    return wave


def sound(content_s: float, duration_s: float, rate_hz: int) -> npt.NDArray[np.int16]:
    """A piece of the track as 16 bit samples at another rate; both times whole samples of it."""
    ratio = Fraction(rate_hz, RATE_HZ)
    wave = _at_rate(ratio.numerator, ratio.denominator)
    first, count = round(content_s * rate_hz), round(duration_s * rate_hz)
    if first + count > len(wave):
        raise ValueError(f"expected a piece of {_TRACK_S} s, found {content_s}+{duration_s} s")
    return np.clip(np.round(wave[first : first + count] * 32768), -32768, 32767).astype(np.int16)


@functools.cache
def _at_rate(up: int, down: int) -> Wave:
    return np.asarray(resample_poly(track(), up, down))


def lateness_s(heard_N: Wave, expected_M: Wave, at: int) -> float | None:
    """How late a window is against what is expected; None where it holds nothing of it.

    Args:
        heard_N: the window.
        expected_M: the whole expected sound, in which the window belongs at sample `at`.
    """
    reach = round(_SEARCH_S * RATE_HZ)
    low, high = max(at - reach, 0), min(at + len(heard_N) + reach, len(expected_M))
    found = best_match(heard_N, expected_M[low:high])
    return None if found is None else (at - low - found) / RATE_HZ


def place_in_track_s(heard_N: Wave) -> float | None:
    """Where in the whole track a window comes from, to a tenth of a millisecond."""
    # At a sixth of the rate, which the band of the track allows: this is a long search.
    found = best_match(np.asarray(resample_poly(heard_N, 1, 6)), _at_rate(1, 6))
    return None if found is None else 6 * found / RATE_HZ


def best_match(heard_N: Wave, among_M: Wave) -> float | None:
    """At which sample, with a fraction, a window fits best; None where it fits nowhere."""
    if len(among_M) < len(heard_N) or not np.any(heard_N):
        return None
    heard = heard_N / np.linalg.norm(heard_N)
    products = correlate(among_M, heard, mode="valid", method="fft")
    sums = np.concatenate([[0.0], np.cumsum(among_M**2)])
    energy = sums[len(heard_N) :] - sums[: -len(heard_N)]
    floor = 0.1 * _TRACK_RMS**2 * len(heard_N)
    likeness = products / np.sqrt(np.maximum(energy, floor))
    best = int(likeness.argmax())
    if likeness[best] < _MIN_LIKENESS:
        return None
    if 0 < best < len(likeness) - 1:
        before, peak, after = likeness[best - 1 : best + 2]
        return best + float((before - after) / 2 / (before - 2 * peak + after))
    return float(best)


def is_quiet(wave_N: Wave) -> bool:
    """Whether there is no sound, but for what a codec spreads around its edges."""
    return bool(np.sqrt(np.mean(wave_N**2)) < 0.1 * _TRACK_RMS)
