"""When things happen, and how things move so that it shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from avipipe.audio_agent.procedural.sound import SAMPLE_RATE_HZ, Array, clock

Track = Callable[[float], float]

_RISE_S = 0.02


def event_times(
    rng: np.random.Generator,
    duration_s: float,
    *,
    start_s: float = 0.0,
    gap_s: tuple[float, float] = (0.38, 0.85),
) -> tuple[float, ...]:
    """Irregular times in `[start_s, start_s + duration_s)`, whole milliseconds, at least one."""
    times_s = [start_s + min(rng.uniform(0.2, 0.45), 0.4 * duration_s)]
    while (next_s := times_s[-1] + rng.uniform(*gap_s)) < start_s + duration_s - 0.25:
        times_s.append(next_s)
    return tuple(round(time_s, 3) for time_s in times_s)


def hop(events_s: Sequence[float], *, peak: float = 0.4) -> Track:
    """Height above the ground: a throw between each two events, touching down at each."""
    first_s = events_s[0] - 0.5

    def height(time_s: float) -> float:
        index = int(np.searchsorted(events_s, time_s, side="right"))
        if index == len(events_s):
            return 0.0
        landing_s = events_s[index]
        takeoff_s = events_s[index - 1] if index else first_s
        span_s = landing_s - takeoff_s
        share = (time_s - takeoff_s) / span_s
        return float(max(0.0, 4 * share * (1 - share) * min(peak, 1.25 * span_s**2)))

    return height


def swing(events_s: Sequence[float], *, raised_rad: float = -1.0) -> Track:
    """The angle of an arm: rests raised, falls ever faster, hits 0 at each event, comes back."""
    fall_s = 0.16

    def angle(time_s: float) -> float:
        index = int(np.searchsorted(events_s, time_s, side="right"))
        back = 1.0
        if index:
            back = 1 - np.exp(-(time_s - events_s[index - 1]) / 0.09)
        if index < len(events_s) and events_s[index] - time_s < fall_s:
            share = 1 - (events_s[index] - time_s) / fall_s
            back *= 1 - share**2
        return float(raised_rad * back)

    return angle


def pulses(events_s: Sequence[float], *, decay_s: float = 0.1) -> Track:
    """1 just after each event and dying away: a jerk, an opened mouth."""

    def pulse(time_s: float) -> float:
        index = int(np.searchsorted(events_s, time_s, side="right"))
        since_s = time_s - events_s[index - 1] if index else np.inf
        return float(np.exp(-((since_s / decay_s) ** 2)))

    return pulse


@dataclass(frozen=True, slots=True)
class Activity:
    """Bursts of work of a machine.

    Attributes:
        level_N: how hard it works, [0, 1], for every audio sample.
        starts_s: when each burst begins.
        travel_N: integral over time of the level, its sign changing from burst to burst.
    """

    level_N: Array
    starts_s: tuple[float, ...]
    travel_N: Array

    def turned(self, time_s: float) -> float:
        """Work done until a time, in seconds at full level."""
        return float(np.interp(time_s, *self._knots(np.cumsum(self.level_N) / SAMPLE_RATE_HZ)))

    def travelled(self, time_s: float) -> float:
        """Distance from the start, to and fro, in seconds at full level."""
        return float(np.interp(time_s, *self._knots(self.travel_N)))

    def _knots(self, track_N: Array) -> tuple[Array, Array]:
        return np.arange(track_N.size) / SAMPLE_RATE_HZ, track_N


def bursts(rng: np.random.Generator, duration_s: float) -> Activity:
    """Irregular bursts with rests between; each rises from its start within 20 ms."""
    time = clock(duration_s)
    level_N, signed_N = np.zeros_like(time), np.zeros_like(time)
    starts_s = []
    cursor_s, sign = rng.uniform(0.1, 0.3), 1
    while cursor_s < duration_s - 0.2:
        end_s = cursor_s + rng.uniform(0.45, 0.95)
        rise = np.clip((time - cursor_s) / _RISE_S, 0, 1)
        fall = np.clip((end_s - time) / (5 * _RISE_S), 0, 1)
        burst = rng.uniform(0.65, 1.0) * rise * fall
        level_N += burst
        signed_N += sign * burst
        starts_s.append(round(cursor_s, 3))
        cursor_s, sign = end_s + rng.uniform(0.3, 0.55), -sign
    return Activity(level_N, tuple(starts_s), np.cumsum(signed_N) / SAMPLE_RATE_HZ)


def wander(rng: np.random.Generator, *, reach: float) -> Callable[[float], tuple[float, float]]:
    """A smooth aimless path, at most `reach` from its centre along each axis."""
    rates_hz = rng.uniform(0.15, 0.75, (2, 3))
    phases = rng.uniform(0, 2 * np.pi, (2, 3))

    def at(time_s: float) -> tuple[float, float]:
        x, y = np.sin(2 * np.pi * rates_hz * time_s + phases).mean(axis=1) * reach
        return float(x), float(y)

    return at
