"""Which samples make up which batch: a function of a few numbers, so a place in it is a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, slots=True)
class Pick:
    """A sample in its turn, the how manieth time (from 0) that it is used."""

    index: int
    turn: int


class Plan:
    """Batches without end, each of one group of samples.

    The samples of a group follow each other in a new order at every turn, all in each, and are cut
    into batches; what is left at the end of a turn begins a batch with the next turn. A round over
    all samples holds each group's batches in a random order.

    Args:
        groups: how many samples each group has, at least one.
        batch_size: of all processes together.
    """

    def __init__(self, groups: Sequence[int], *, batch_size: int, seed: int) -> None:
        self._groups, self._batch_size, self._seed = tuple(groups), batch_size, seed
        self._round = lru_cache(maxsize=4)(self._draw_round)
        self._order = lru_cache(maxsize=2 * len(groups))(self._draw_order)

    def batch(self, number: int) -> tuple[int, list[Pick]]:
        """The group of a batch, and its picks: positions within the group."""
        turn = self._find_round(number)
        place = number - self.num_batches(turn)
        schedule = self._round(turn)
        group = int(schedule[place])
        earlier = int(np.count_nonzero(schedule[:place] == group))
        first = (self._done(group, turn) + earlier) * self._batch_size
        return group, [self._pick(group, first + offset) for offset in range(self._batch_size)]

    def num_batches(self, rounds: int) -> int:
        """Batches of so many rounds."""
        return sum(self._done(group, rounds) for group in range(len(self._groups)))

    def _done(self, group: int, rounds: int) -> int:
        return rounds * self._groups[group] // self._batch_size

    def _find_round(self, number: int) -> int:
        """The round that a batch is in."""
        turn = number * self._batch_size // sum(self._groups)
        while self.num_batches(turn + 1) <= number:
            turn += 1
        return turn

    def _draw_round(self, turn: int) -> np.ndarray:
        counts = [
            self._done(group, turn + 1) - self._done(group, turn)
            for group in range(len(self._groups))
        ]
        schedule = np.repeat(np.arange(len(counts)), counts)
        return np.random.default_rng([self._seed, 0, turn]).permutation(schedule)

    def _draw_order(self, group: int, turn: int) -> np.ndarray:
        return np.random.default_rng([self._seed, 1, group, turn]).permutation(self._groups[group])

    def _pick(self, group: int, position: int) -> Pick:
        turn, place = divmod(position, self._groups[group])
        return Pick(int(self._order(group, turn)[place]), turn)
