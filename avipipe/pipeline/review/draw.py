"""Which clips a review page shows: a seeded draw, spread over probabilities and reasons."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from avipipe.manifests import tables
from avipipe.manifests.records import digest
from avipipe.pipeline.graph import Row

NUM_BANDS = 10
"""Of probability: fine enough to see where it is wrong, and each still gets some of 60 clips."""


class Stratum(NamedTuple):
    """What clips are drawn alike.

    Attributes:
        band: of probability, from 0; None where there is none.
        reason: of a drop; empty for a kept clip.
    """

    decision: Literal["keep", "drop"]
    band: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A clip that may be drawn.

    Attributes:
        row: leads to what the build knows of it; where only its publication is left, its row in
            the manifest.
    """

    clip_id: str
    stratum: Stratum
    row: Row | tables.Row


def band_of(probability: float | None) -> int | None:
    """The tenth that a probability lies in, the last one with 1."""
    return None if probability is None else min(int(probability * NUM_BANDS), NUM_BANDS - 1)


@dataclass(slots=True)
class Draw:
    """Of each stratum the first `count` clips in an order that the seed gives.

    Takes any number of clips in memory that does not grow with them.
    """

    count: int
    seed: int
    _strata: defaultdict[Stratum, list[tuple[int, str, Candidate]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def offer(self, clip: Candidate) -> None:
        """Consider a clip."""
        drawn = self._strata[clip.stratum]
        # Lowest ranks win; heapq keeps the smallest on top, so they are negated.
        entry = (-self.rank(clip.clip_id), clip.clip_id, clip)
        if len(drawn) < self.count:
            heapq.heappush(drawn, entry)
        elif entry[0] > drawn[0][0]:
            heapq.heapreplace(drawn, entry)

    def rank(self, name: object) -> int:
        """The place of a name in the order that the seed gives."""
        return int(digest([self.seed, str(name)])[:16], 16)

    def __iter__(self) -> Iterator[Candidate]:
        """Kept and dropped clips in turn; of either the bands in turn; of a band the reasons."""
        return _in_turn([self._side("keep"), self._side("drop")])

    def _side(self, decision: str) -> Iterator[Candidate]:
        strata = sorted((s for s in self._strata if s.decision == decision), key=self.rank)
        bands = dict.fromkeys(stratum.band for stratum in strata)
        return _in_turn(
            [_in_turn([self._clips(s) for s in strata if s.band == band]) for band in bands]
        )

    def _clips(self, stratum: Stratum) -> list[Candidate]:
        return [clip for _, _, clip in sorted(self._strata[stratum], reverse=True)]


def _in_turn(parts: Sequence[Iterable[Candidate]]) -> Iterator[Candidate]:
    """One of each part, then the next of each, until all are at their ends."""
    going = [iter(part) for part in parts]
    while going:
        for part in tuple(going):
            try:
                yield next(part)
            except StopIteration:
                going.remove(part)
