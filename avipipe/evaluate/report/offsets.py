"""How the offsets of lips and voice are spread: a mean hides that half lead and half lag."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from avipipe.evaluate.metrics.sync import REACH_FRAMES, offset_histogram
from avipipe.evaluate.tables import ClipScore

OFFSET_METRIC = "syncoffset.latentsync"
OFFSET_FPS = 25
"""Pictures a second of SyncNet, in which that metric counts."""


@dataclass(frozen=True, slots=True)
class OffsetLine:
    """The offsets of a method or control.

    Attributes:
        num: of cases.
        bars: offset in pictures, number of cases, and share of the most that any bar has.
    """

    method: str
    num: int
    bars: tuple[tuple[int, int, float], ...]


def offset_lines(clips: Sequence[ClipScore], methods: Sequence[str]) -> Iterator[OffsetLine]:
    """A line for each of the methods that has any offset."""
    offsets: dict[str, list[int]] = {method: [] for method in methods}
    for clip in clips:
        if clip.metric == OFFSET_METRIC and clip.value is not None:
            offsets[clip.method].append(round(clip.value * OFFSET_FPS))
    for method, own in offsets.items():
        if own:
            counts = offset_histogram(own).tolist()
            steps = range(-REACH_FRAMES, REACH_FRAMES + 1)
            bars = tuple(
                (step, num, num / max(counts)) for step, num in zip(steps, counts, strict=True)
            )
            yield OffsetLine(method, len(own), bars)
