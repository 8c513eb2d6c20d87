"""Samples of clips, alike in every run, in memory that does not grow with their number."""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class Strata(Generic[S, T]):
    """Stratified sample: of each stratum the `count` things of the lowest ranks.

    Whose rank depends on an id alone is drawn whatever else there is, in whatever order.
    """

    count: int
    _lowest: defaultdict[S, list[tuple[int, str, T]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def offer(self, stratum: S, rank: int, name: str, thing: T) -> None:
        """Consider a thing. `name`: tells things of one rank apart."""
        lowest = self._lowest[stratum]
        # heapq keeps the smallest on top, so ranks are negated.
        entry = (-rank, name, thing)
        if len(lowest) < self.count:
            heapq.heappush(lowest, entry)
        elif entry[:2] > lowest[0][:2]:
            heapq.heapreplace(lowest, entry)

    def __iter__(self) -> Iterator[S]:
        return iter(self._lowest)

    def __getitem__(self, stratum: S) -> list[T]:
        """What was drawn of a stratum, lowest rank first."""
        drawn = sorted(self._lowest.get(stratum, ()), key=lambda entry: entry[:2], reverse=True)
        return [thing for _, _, thing in drawn]


def interleave(parts: Sequence[Iterable[T]]) -> Iterator[T]:
    """Interleave parts: one of each, then the next of each, until all are at their ends."""
    going = [iter(part) for part in parts]
    while going:
        for part in tuple(going):
            try:
                yield next(part)
            except StopIteration:
                going.remove(part)
