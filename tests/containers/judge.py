"""Measures a written clip against what its source holds, on the written files alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.containers.signals import (
    RATE_HZ,
    Wave,
    is_quiet,
    lateness_s,
    place_in_track_s,
    read,
)
from tests.containers.truth import Part, Truth

FPS = 24
MAX_PICTURES = 1
MAX_SOUND_MS = 10.0
_WINDOW = RATE_HZ // 10
_HOP = _WINDOW // 2
_BLOCK = _WINDOW // 10
_SCALES = {"s16": 2.0**-15, "s32": 2.0**-31}


@dataclass(frozen=True)
class Verdict:
    """How far a clip is from the truth.

    Attributes:
        picture_error: the largest, in pictures of the source; infinite where a picture is none of
            the source's.
        sound_error_ms: the largest over all windows of 100 ms; infinite where sound is missing, or
            there is some that the source does not hold.
        num_pictures, num_samples: as found.
        num_wrong: pictures and windows beyond what is allowed.
        is_complete: whether each picture and each sample is there, at its time.
    """

    picture_error: float
    sound_error_ms: float
    num_pictures: int
    num_samples: int
    num_wrong: int
    is_complete: bool

    @property
    def is_right(self) -> bool:
        return (
            self.is_complete
            and self.picture_error <= MAX_PICTURES
            and self.sound_error_ms <= MAX_SOUND_MS
        )


def judge(truth: Truth, *, start_s: float, end_s: float, video: Path, audio: Path) -> Verdict:
    """Compare the files written from `[start_s, end_s)` with the truth.

    Both the reference sound in `audio` and the sound for players in `video` must be right.
    """
    seen, times = _pictures(video)
    reference, first = sound_of(audio)
    players, players_first = sound_of(video)
    expected_count = math.floor((end_s - start_s) * FPS + 0.5)
    truth = Truth(tuple(settled(part, start_s, reference) for part in truth.parts))
    pictures = [
        _picture_error(truth, number, start_s + (n + 0.5) / FPS) for n, number in enumerate(seen)
    ]
    sounds = [*sound_errors_ms(truth, start_s, reference)]
    # Players need no more than what is in both: the AAC ends with its own block.
    sounds += sound_errors_ms(truth, start_s, players[: len(reference)])
    is_complete = (
        times == [Fraction(n, FPS) for n in range(expected_count)]
        and len(reference) == expected_count * RATE_HZ // FPS
        and len(players) >= len(reference)
        and first == players_first == 0
    )
    num_wrong = sum(error > MAX_PICTURES for error in pictures)
    num_wrong += sum(error > MAX_SOUND_MS for error in sounds)
    return Verdict(
        max(pictures, default=math.inf),
        max(sounds, default=0.0),
        len(seen),
        len(reference),
        num_wrong,
        is_complete,
    )


def _picture_error(truth: Truth, number: int | None, time_s: float) -> float:
    if number not in truth.numbers:
        return math.inf
    return float(abs(truth.numbers.index(number) - truth.index_at(time_s)))


def settled(part: Part, start_s: float, wave_N: Wave) -> Part:
    """The part where its sound is found, within its slack; its pictures must be there too."""
    if part.slack_s == 0:
        return part
    alone = Truth((part,))
    found_s = [
        late_s
        for at, window in _windows(wave_N)
        if (late_s := _lateness_s(alone, start_s, at, window)) is not None
        and abs(late_s) <= part.slack_s
    ]
    return part.later(float(np.median(found_s))) if found_s else part


def sound_errors_ms(truth: Truth, start_s: float, wave_N: Wave) -> Iterator[float]:
    """Of each window of sound from `start_s` on; infinite where it is not the source's."""
    for at, window in _windows(wave_N):
        expected = truth.heard(start_s + at / RATE_HZ, len(window))
        share = np.count_nonzero(expected) / len(window)
        if _drops_out(window, expected):
            yield math.inf
        elif share > 0.9:
            late_s = _lateness_s(truth, start_s, at, window)
            if late_s is None:
                late_s = _far_lateness_s(truth, start_s, at, window)
            yield 1000 * abs(late_s)
        elif share == 0:
            yield 0.0 if is_quiet(window) else math.inf


def _drops_out(window: Wave, expected: Wave) -> bool:
    """Whether a hundredth of a second is silent where there should be sound."""
    blocks = zip(window.reshape(-1, _BLOCK), expected.reshape(-1, _BLOCK), strict=True)
    return any(is_quiet(heard) and np.all(wanted) for heard, wanted in blocks)


def _lateness_s(truth: Truth, start_s: float, at: int, window: Wave) -> float | None:
    margin = RATE_HZ
    expected = truth.heard(start_s + (at - margin) / RATE_HZ, len(window) + 2 * margin)
    return lateness_s(window, expected, margin)


def _far_lateness_s(truth: Truth, start_s: float, at: int, window: Wave) -> float:
    """Of a window that is not where it should be: from elsewhere in the track, or from nowhere."""
    place_s = place_in_track_s(window)
    if place_s is None:
        return math.inf
    time_s = start_s + at / RATE_HZ
    sounds = [sound for part in truth.parts for sound in part.sounds]
    shares = (time_s - sound.start_s + sound.content_s - place_s for sound in sounds)
    return min(shares, key=abs)


def _windows(wave_N: Wave) -> Iterator[tuple[int, Wave]]:
    for at in range(0, len(wave_N) - _WINDOW + 1, _HOP):
        yield at, wave_N[at : at + _WINDOW]


def _pictures(path: Path) -> tuple[list[int | None], list[Fraction]]:
    """The numbers seen, and when; in file order, without a seek."""
    numbers: list[int | None] = []
    times: list[Fraction] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            numbers.append(read(_grey(frame)))
            times.append(time_of(frame))
    return numbers, times


def time_of(frame: av.VideoFrame | av.AudioFrame) -> Fraction:
    """When a frame appears, on its container's clock."""
    if frame.pts is None or frame.time_base is None:
        raise AssertionError("expected frames with times, found one without")
    return frame.pts * frame.time_base


def _grey(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    return np.asarray(frame.reformat(format="gray").to_ndarray())


def sound_of(path: Path) -> tuple[Wave, Fraction | None]:
    """The mean of the channels, which must be alike, and when the first sample is."""
    chunks: list[Wave] = []
    first: Fraction | None = None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            if frame.sample_rate != RATE_HZ:
                raise AssertionError(f"expected {RATE_HZ} Hz, found {frame.sample_rate}")
            first = time_of(frame) if first is None else first
            chunk = frame.to_ndarray()
            if not frame.format.is_planar:
                chunk = chunk.reshape(-1, frame.layout.nb_channels).T
            chunks.append(chunk.mean(axis=0) * _SCALES.get(frame.format.packed.name, 1.0))
    return np.concatenate(chunks or [np.zeros(0)]), first
