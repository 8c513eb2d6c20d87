"""What must be seen and heard when, in source time: known before a file is written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from tests.containers.signals import RATE_HZ, Wave, track


@dataclass(frozen=True)
class Sound:
    """A stretch of the track: from `content_s` on it is heard from `start_s` on."""

    start_s: float
    end_s: float
    content_s: float

    def later(self, shift_s: float) -> "Sound":
        return replace(self, start_s=self.start_s + shift_s, end_s=self.end_s + shift_s)


@dataclass(frozen=True)
class Part:
    """A stretch of a file whose pictures and sounds share one clock.

    Attributes:
        times_s, numbers: when each picture appears, and the number that it carries.
        end_s: when the last picture goes.
        slack_s: how far the part as a whole, pictures and sound together, may lie elsewhere: where
            a file says nothing certain about when it begins.
    """

    times_s: tuple[float, ...]
    numbers: tuple[int, ...]
    end_s: float
    sounds: tuple[Sound, ...]
    slack_s: float = 0.0

    def later(self, shift_s: float) -> "Part":
        return replace(
            self,
            times_s=tuple(time_s + shift_s for time_s in self.times_s),
            end_s=self.end_s + shift_s,
            sounds=tuple(sound.later(shift_s) for sound in self.sounds),
        )


@dataclass(frozen=True)
class Truth:
    """All parts of a file, in order."""

    parts: tuple[Part, ...]

    @property
    def start_s(self) -> float:
        return self.parts[0].times_s[0]

    @property
    def end_s(self) -> float:
        return self.parts[-1].end_s

    @property
    def shown_s(self) -> float:
        """How long there is a picture."""
        return sum(part.end_s - part.times_s[0] for part in self.parts)

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """How long there is no picture, between each two parts."""
        return tuple(after.times_s[0] - before.end_s for before, after in pairwise(self.parts))

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(number for part in self.parts for number in part.numbers)

    @property
    def times_s(self) -> tuple[float, ...]:
        return tuple(time_s for part in self.parts for time_s in part.times_s)

    def index_at(self, time_s: float) -> int:
        """Which picture of all is on screen; the first one before it, the last one after it."""
        return max(int(np.searchsorted(self.times_s, time_s, side="right")) - 1, 0)

    def heard(self, start_s: float, num_samples: int) -> Wave:
        """The sound from `start_s` on at `RATE_HZ`; zeros where there is none."""
        wave = np.zeros(num_samples)
        for sound in (sound for part in self.parts for sound in part.sounds):
            first = round((sound.start_s - start_s) * RATE_HZ)
            last = min(round((sound.end_s - start_s) * RATE_HZ), num_samples)
            content = round(sound.content_s * RATE_HZ)
            begin = max(first, 0)
            if last > begin:
                wave[begin:last] = track()[content + begin - first : content + last - first]
        return wave


def steady(
    fps: Fraction | int,
    count: int,
    *,
    first: int = 0,
    content_s: float = 0.0,
    sound_s: tuple[float, float] | None = None,
    slack_s: float = 0.0,
) -> Part:
    """`count` pictures at one rate from time 0 on, with the numbers from `first` on.

    Args:
        content_s: place in the track of time 0.
        sound_s: when the sound begins and ends; with the pictures unless given.
    """
    end_s = float(count / Fraction(fps))
    begin_s, stop_s = sound_s or (0.0, end_s)
    return Part(
        tuple(float(n / Fraction(fps)) for n in range(count)),
        tuple(range(first, first + count)),
        end_s,
        (Sound(begin_s, stop_s, content_s + begin_s),),
        slack_s,
    )


def at_times(times_s: Sequence[float], end_s: float, numbers: Sequence[int]) -> Part:
    """Pictures at given times, with sound from time 0 to the end."""
    return Part(tuple(times_s), tuple(numbers), end_s, (Sound(0.0, end_s, 0.0),))
