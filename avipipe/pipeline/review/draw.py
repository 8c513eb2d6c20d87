"""Which clips a review page shows: a seeded draw, spread over probabilities and reasons."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from avipipe.manifests import tables
from avipipe.manifests.records import digest
from avipipe.pipeline.graph import Row
from avipipe.pipeline.sampling import Strata, interleave

NUM_BANDS = 10
"""Number of bands of probability: fine enough to see where it is wrong, each with clips."""


class Stratum(NamedTuple):
    """A stratum: clips that are drawn alike.

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
    """Band that a probability lies in; the last one holds 1."""
    return None if probability is None else min(int(probability * NUM_BANDS), NUM_BANDS - 1)


@dataclass(slots=True)
class SeededDraw:
    """A seeded draw: of each stratum the first `count` clips in the seed's order.

    Takes any number of clips in memory that does not grow with them.
    """

    count: int
    seed: int
    _strata: Strata[Stratum, Candidate] = field(init=False)

    def __post_init__(self) -> None:
        self._strata = Strata(self.count)

    def offer(self, clip: Candidate) -> None:
        """Consider a clip."""
        self._strata.offer(clip.stratum, self.rank(clip.clip_id), clip.clip_id, clip)

    def rank(self, name: object) -> int:
        """Rank of a name in the seed's order."""
        return int(digest([self.seed, str(name)])[:16], 16)

    def __iter__(self) -> Iterator[Candidate]:
        """Kept and dropped clips in turn; of either the bands in turn; of a band the reasons."""
        return interleave([self._side("keep"), self._side("drop")])

    def _side(self, decision: str) -> Iterator[Candidate]:
        strata = sorted((s for s in self._strata if s.decision == decision), key=self.rank)
        bands = dict.fromkeys(stratum.band for stratum in strata)
        return interleave(
            [interleave([self._strata[s] for s in strata if s.band == band]) for band in bands]
        )
