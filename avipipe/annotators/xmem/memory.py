"""XMem's memory: frames as they were (working memory) and prototypes of older ones (long-term).

An element is one place of one memorised frame. Objects that came into the clip together form a
group; a later group has values only for the last elements of each store, so it reads only those.

Shape suffixes: N elements, Q queries, O objects, C channels.

Source: Cheng and Schwing, XMem, ECCV 2022, sections 3.2 and 3.3; hkchengrex/XMem@f3b841d (MIT).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_NO_LIFE = 1e-7
"""Life of a new element, as in the official code: usage is divided by it."""


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Limits of the memory; the defaults are the official ones.

    Attributes:
        top_k: elements that a query reads.
        long_term: whether the working memory is bounded, and what it loses consolidated.
        max_work_frames: from which the working memory is consolidated (T_max).
        min_work_frames: that are left then: the first one and the newest (T_min).
        num_prototypes: that come of it (P).
        max_long_elements: of the long-term memory (LT_max).
    """

    top_k: int = 30
    long_term: bool = True
    max_work_frames: int = 10
    min_work_frames: int = 5
    num_prototypes: int = 128
    max_long_elements: int = 10_000


OFFICIAL_LIMITS = MemoryLimits()


class Keys(NamedTuple):
    """Keys of memory elements: key_CN, shrinkage_1N, selection_CN."""

    key_CN: Tensor
    shrinkage_1N: Tensor
    selection_CN: Tensor

    def take(self, index_N: Tensor) -> "Keys":
        return Keys(*(tensor[:, index_N] for tensor in self))


def similarity(
    memory_CN: Tensor, shrinkage_1N: Tensor | None, query_CQ: Tensor, selection_CQ: Tensor | None
) -> Tensor:
    """Anisotropic L2 similarity (N, Q), at most 0 (equation 3).

    Without a selection it lacks the query's own square, as in STCN.
    """
    if selection_CQ is None:
        square_NQ = memory_CN.square().sum(dim=0)[:, None]
        product_NQ = memory_CN.T @ query_CQ
    else:
        square_NQ = memory_CN.T.square() @ selection_CQ
        square_NQ += (selection_CQ * query_CQ.square()).sum(dim=0)
        product_NQ = memory_CN.T @ (query_CQ * selection_CQ)
    similarity_NQ = product_NQ.mul_(2).sub_(square_NQ).div_(math.sqrt(len(memory_CN)))
    return similarity_NQ if shrinkage_1N is None else similarity_NQ.mul_(shrinkage_1N.T)


def affinity(similarity_NQ: Tensor, *, top_k: int | None = None) -> Tensor:
    """Affinity (N, Q): softmax over all elements, or over each query's `top_k`; others get 0.

    Safe where all are far away, and where there are fewer than `top_k`.
    """
    if top_k is None:
        return similarity_NQ.softmax(dim=0)
    values_kQ, indices_kQ = similarity_NQ.topk(min(top_k, len(similarity_NQ)), dim=0)
    return torch.zeros_like(similarity_NQ).scatter_(0, indices_kQ, values_kQ.softmax(dim=0))


def consolidate(
    keys: Keys, usage_N: Tensor, values: Sequence[Tensor | None], *, num_prototypes: int
) -> tuple[Keys, list[Tensor | None], Tensor]:
    """Prototypes: the most used elements, their values gathered from all elements like them.

    Args:
        values: of each group (O, C, n), of the last n elements; None takes no part.
    Returns:
        Keys of the prototypes, best first; their values by group (of those prototypes that the
        group has values for; None where it has none); the elements that they are.
    """
    num = len(usage_N)
    index_P = usage_N.topk(min(num_prototypes, num)).indices
    prototypes = keys.take(index_P)
    similarity_NP = similarity(
        keys.key_CN, keys.shrinkage_1N, prototypes.key_CN, prototypes.selection_CN
    )
    new_values: list[Tensor | None] = []
    for value in values:
        start = num - value.shape[-1] if value is not None else num
        valid_P = index_P >= start
        if value is None or not valid_P.any():
            new_values.append(None)
        else:
            affinity_NP = affinity(similarity_NP[start:, valid_P])
            new_values.append(value @ affinity_NP.to(value.dtype))
    shrinkage_1P = keys.shrinkage_1N @ affinity(similarity_NP)
    return prototypes._replace(shrinkage_1N=shrinkage_1P), new_values, index_P


def survivors(usage_N: Tensor, *, max_size: int) -> Tensor:
    """Which elements stay, bool (N,), when only the `max_size` most used may.

    Ties with the best one that goes go too, so that fewer may stay.
    """
    num_gone = len(usage_N) - max_size
    if num_gone <= 0:
        return torch.ones_like(usage_N, dtype=torch.bool)
    return usage_N > usage_N.kthvalue(num_gone).values


class KeyValueStore:
    """A store of memory elements: keys, usage, and values by group of objects."""

    def __init__(self, keys: Keys, values: Sequence[Tensor]) -> None:
        self.keys = keys
        self.values = list(values)
        self._use_N = torch.zeros_like(keys.shrinkage_1N[0])
        self._life_N = torch.full_like(self._use_N, _NO_LIFE)

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self._use_N)

    def usage(self) -> Tensor:
        """Mean affinity that each element had in a frame since it is here."""
        return self._use_N / self._life_N

    def append(self, keys: Keys, values: Sequence[Tensor | None]) -> None:
        """Add elements; a group that is not known yet is added."""
        self.keys = Keys(*(torch.cat(pair, dim=1) for pair in zip(self.keys, keys, strict=True)))
        unused_N = torch.zeros_like(keys.shrinkage_1N[0])
        self._use_N = torch.cat([self._use_N, unused_N])
        self._life_N = torch.cat([self._life_N, torch.full_like(unused_N, _NO_LIFE)])
        for group, value in enumerate(values):
            if value is not None and group < len(self.values):
                self.values[group] = torch.cat([self.values[group], value], dim=-1)
            elif value is not None:
                self.values.append(value)

    def count_use(self, use_N: Tensor) -> None:
        """Note what the elements gave to a frame."""
        self._use_N = self._use_N + use_N
        self._life_N = self._life_N + 1

    def keep(self, index_N: Tensor) -> None:
        """Keep these elements (indices); values are left alone."""
        self.keys = self.keys.take(index_N)
        self._use_N, self._life_N = self._use_N[index_N], self._life_N[index_N]

    def evict(self, *, max_size: int) -> None:
        """Forget the least used elements, with their values."""
        stays_N = survivors(self.usage(), max_size=max_size)
        self.values = [value[..., stays_N[self.size - value.shape[-1] :]] for value in self.values]
        self.keep(stays_N.nonzero()[:, 0])


class MemoryManager:
    """XMem's memory of the objects: working and long-term."""

    def __init__(self, limits: MemoryLimits) -> None:
        assert 1 <= limits.min_work_frames < limits.max_work_frames
        assert limits.num_prototypes < limits.max_long_elements
        self.limits = limits
        self.work: KeyValueStore | None = None
        self.long: KeyValueStore | None = None

    def read(self, query_CQ: Tensor, selection_CQ: Tensor) -> Tensor:
        """Read values for each query, (O, C, Q), of all objects."""
        stores = [store for store in (self.long, self.work) if store is not None]
        key_CN = torch.cat([store.keys.key_CN for store in stores], dim=1)
        shrinkage_1N = torch.cat([store.keys.shrinkage_1N for store in stores], dim=1)
        similarity_NQ = similarity(key_CN, shrinkage_1N, query_CQ, selection_CQ)
        of_store = torch.split(similarity_NQ, [store.size for store in stores])
        assert self.work is not None, "read before anything was memorised"
        readouts = []
        for group in range(len(self.work.values)):
            values = [store.values[group] for store in stores if group < len(store.values)]
            rows = of_store[-len(values) :]
            parts = [row[len(row) - v.shape[-1] :] for row, v in zip(rows, values, strict=True)]
            affinity_NQ = affinity(torch.cat(parts), top_k=self.limits.top_k)
            shares = torch.split(affinity_NQ, [len(part) for part in parts])
            parts_OCQ = [v @ share.to(v.dtype) for v, share in zip(values, shares, strict=True)]
            readouts.append(torch.stack(parts_OCQ).sum(dim=0))
            if group == 0:
                # The first group has values for every element, so its use is everyone's.
                for store, share in zip(stores, shares, strict=True):
                    store.count_use(share.sum(dim=1))
        return torch.cat(readouts)

    def add(self, keys: Keys, value_OCN: Tensor) -> None:
        """Memorise one frame; objects that were not known yet come last."""
        if self.work is None:
            self.work = KeyValueStore(keys, [value_OCN])
        else:
            sizes = [len(value) for value in self.work.values]
            if len(value_OCN) > sum(sizes):
                sizes.append(len(value_OCN) - sum(sizes))
            self.work.append(keys, torch.split(value_OCN, sizes))
        per_frame = keys.key_CN.shape[1]
        if self.limits.long_term and self.work.size >= self.limits.max_work_frames * per_frame:
            self._consolidate(self.work, per_frame)

    def _consolidate(self, work: KeyValueStore, per_frame: int) -> None:
        """Move all but the first and the newest frames of the working memory to the long-term one.

        A group that came late is cut by its own count of elements, as in the original: it keeps
        its own first frame, which from then on goes by the first key of the clip.
        """
        newest = (self.limits.min_work_frames - 1) * per_frame
        least = newest + 2 * per_frame
        candidates = [
            value[..., per_frame : value.shape[-1] - newest]
            if value.shape[-1] == work.size or value.shape[-1] > least
            else None
            for value in work.values
        ]
        usage_N = work.usage()
        element_N = torch.arange(work.size, device=usage_N.device)
        middle = slice(per_frame, work.size - newest)
        keys, values, _ = consolidate(
            work.keys.take(element_N[middle]),
            usage_N[middle],
            candidates,
            num_prototypes=self.limits.num_prototypes,
        )
        work.keep(torch.cat([element_N[: middle.start], element_N[middle.stop :]]))
        work.values = [
            torch.cat([value[..., :per_frame], value[..., value.shape[-1] - newest :]], dim=-1)
            if value.shape[-1] >= least
            else value
            for value in work.values
        ]
        if self.long is None:
            self.long = KeyValueStore(keys, [value for value in values if value is not None])
        else:
            room = self.limits.max_long_elements - self.limits.num_prototypes
            self.long.evict(max_size=room)
            self.long.append(keys, values)
