"""When packets are shown: from the timestamps of a container to the one timeline of a source.

Three things stand between them. Timestamps may start anew (a transport stream whose clock was
reset, files joined end to end): what follows is moved behind what came before. They may leave a
hole in which nothing is shown or heard (a jump of the clock): it stays, but belongs to no stretch.
And one picture may claim hours: it counts for as long as sound or further pictures bear it out.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
import numpy.typing as npt

# A clock that goes back by less is jitter of the muxer, by more it was set anew. ffmpeg's own
# threshold for a discontinuity is 10 s; recordings that are joined can be shorter than that.
_RESTART_S = 0.5
# Without sound a picture that stays for longer, in seconds and in usual gaps, counts for one gap.
_HOLD_S = 1.0
_HOLD_GAPS = 2.0
# A gap in both picture and sound that is shorter is a lost packet, not a hole.
_HOLE_S = 0.5
# Gaps between pictures that are off by more than this share of the usual one are irregular, and
# more than this share of them makes a variable rate. Choices: containers round to milliseconds.
_VFR_TOLERANCE = 0.1
_VFR_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Restart:
    """A restart of a clock: from packet `ordinal` on, in file order, times move by `shift_s`.

    Exact to the microsecond, and the same for both streams of a file.
    """

    ordinal: int
    shift_s: float


@dataclass(slots=True)
class PacketTimes:
    """Timestamps of the packets of one stream, in file order, in ticks of `time_base`."""

    time_base: Fraction
    header_start: int | None
    num_untimed: int = 0  # before the clock begins, and so before all that have a time
    is_clocked: bool = False
    shown: list[int] = field(default_factory=list)
    decoded: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)

    def add(self, packet: "av.Packet[Any]", *, by_slot: bool) -> None:
        """Note a packet; `by_slot`: its place in the order of decoding is all that it says."""
        decoded = packet.dts if packet.dts is not None else packet.pts
        shown = packet.pts if packet.pts is not None and not by_slot else decoded
        assert decoded is not None, "only packets with a time are noted"
        assert shown is not None
        self.is_clocked = self.is_clocked or packet.dts is not None
        # Without a time of decoding, that of showing would go back and forth with B-frames.
        late = self.decoded[-1] if packet.dts is None and self.decoded else decoded
        self.shown.append(shown)
        self.decoded.append(late)
        self.durations.append(packet.duration or 0)

    def restarts(self) -> list[int]:
        """Ordinals of the packets with which the clock of the stream goes back."""
        limit = max(1, round(_RESTART_S / self.time_base))
        return [n for n, (a, b) in enumerate(pairwise(self.decoded), 1) if b < a - limit]

    def end_of(self, first: int, last: int) -> Fraction:
        """End of the last of the packets `[first, last)`."""
        part = slice(first, last)
        end: int = max(map(operator.add, self.shown[part], self.durations[part]))
        return end * self.time_base

    def start_of(self, first: int, last: int) -> Fraction:
        return min(self.shown[first:last]) * self.time_base


def restarts(video: PacketTimes, audio: PacketTimes) -> tuple[list[Restart], list[Restart]] | None:
    """Restarts that bring each stream onto one timeline; None where that cannot be told.

    The n-th restart of the picture and of the sound are one: the clock is that of the container.
    """
    video_at, audio_at = video.restarts(), audio.restarts()
    if len(video_at) != len(audio_at):
        return None
    bounds = [
        list(pairwise([0, *at, len(times.shown)]))
        for times, at in ((video, video_at), (audio, audio_at))
    ]
    moved: tuple[list[Restart], list[Restart]] = ([], [])
    shift = Fraction(0)
    for before, part in pairwise(zip(*bounds, strict=True)):
        end = max(video.end_of(*before[0]), audio.end_of(*before[1])) + shift
        start = min(video.start_of(*part[0]), audio.start_of(*part[1]))
        shift = exact(end - start)
        for stream, (first, _) in zip(moved, part, strict=True):
            stream.append(Restart(first, float(shift)))
    return moved


@dataclass(frozen=True, slots=True)
class Timeline:
    """Sorted times of a stream's packets in ticks of `time_base`, all restarts undone."""

    pts: npt.NDArray[np.int64]
    durations: npt.NDArray[np.int64]
    time_base: Fraction
    header_start: int | None

    @classmethod
    def of(cls, times: PacketTimes, moved: Sequence[Restart]) -> "Timeline":
        shown = np.array(times.shown, np.int64)
        for this, after in pairwise([*moved, None]):
            assert this is not None
            last = len(shown) if after is None else after.ordinal
            shown[this.ordinal : last] += ticks(this.shift_s, times.time_base)
        order = np.argsort(shown, kind="stable")
        durations = np.array(times.durations, np.int64)[order]
        timed = cls(shown[order], durations, times.time_base, times.header_start)
        if times.num_untimed == 0:
            return timed
        gap = timed.usual_gap
        early = timed.pts[0] - gap * np.arange(times.num_untimed, 0, -1)
        lengths = np.full(times.num_untimed, gap)
        pts, durations = np.append(early, timed.pts), np.append(lengths, durations)
        return cls(pts, durations, times.time_base, None)

    @property
    def start_s(self) -> float:
        # The header knows how many samples of the first packets are the codec's own run-in.
        start = self.pts[0] if self.header_start is None else max(self.pts[0], self.header_start)
        return float(int(start) * self.time_base)

    @property
    def last_s(self) -> float:
        return float(int(self.pts[-1]) * self.time_base)

    @property
    def usual_gap(self) -> int:
        """The median time between two packets, in ticks; at least one."""
        gaps = np.diff(self.pts)
        return max(int(np.median(gaps)) if len(gaps) else int(self.durations[-1]), 1)

    @property
    def fps(self) -> Fraction:
        if len(self.pts) < 2 or self.pts[-1] == self.pts[0]:
            return 1 / (max(int(self.durations[-1]), 1) * self.time_base)
        return (len(self.pts) - 1) / (int(self.pts[-1] - self.pts[0]) * self.time_base)

    @property
    def is_vfr(self) -> bool:
        gaps = np.diff(self.pts)
        if len(gaps) == 0:
            return False
        off = np.abs(gaps - np.median(gaps))
        tolerance = max(_VFR_TOLERANCE * float(np.median(gaps)), 1.0)
        return float(np.mean(off > tolerance)) > _VFR_SHARE

    def sounding(self) -> npt.NDArray[np.float64]:
        """Begin and end of each packet of sound, (N, 2) in seconds."""
        durations = np.where(self.durations > 0, self.durations, self.usual_gap)
        return self._spans(durations)

    def showing(self) -> npt.NDArray[np.float64]:
        """Begin and end of each picture by itself, (N, 2) in seconds."""
        hold = max(_HOLD_GAPS * self.usual_gap, _HOLD_S / float(self.time_base))
        last = int(self.durations[-1]) or self.usual_gap
        gaps = np.append(np.diff(self.pts), last)
        return self._spans(np.where(gaps > hold, self.usual_gap, gaps))

    def _spans(self, durations: npt.NDArray[np.floating | np.integer]) -> npt.NDArray[np.float64]:
        tick_s = float(self.time_base)
        return np.stack([self.pts * tick_s, (self.pts + durations) * tick_s], axis=1)


def stretches(*spans: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """Intervals in which something is shown or heard, without a hole, in order."""
    joined: list[tuple[float, float]] = []
    ordered = np.concatenate(spans)
    for start_s, end_s in ordered[np.argsort(ordered[:, 0], kind="stable")].tolist():
        if joined and start_s <= joined[-1][1] + _HOLE_S:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_s))
        else:
            joined.append((start_s, end_s))
    return joined


def exact(seconds: float | Fraction) -> Fraction:
    """Exact seconds, to the microsecond, so that 0.1 means a tenth."""
    return Fraction(round(seconds * 1_000_000), 1_000_000)


def ticks(seconds: float, time_base: Fraction) -> int:
    """Convert seconds to the nearest whole number of ticks."""
    return round(exact(seconds) / time_base)
