"""Assigns clips to splits so that no group crosses a split.

Clips are of one group if they share a source, a channel or a fingerprint, or if their fingerprints
are near, and so on through other clips. A group goes where a seeded hash of it says. What is
published stays: a new clip follows the group that it joins, and one that would join two groups of
different splits has no split.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping

from avipipe.manifests.duplicates import SplitClip, duplicates

logger = logging.getLogger(__name__)


def assign_splits(
    clips: Iterable[SplitClip],
    *,
    fractions: Mapping[str, float],
    seed: int,
    published: Mapping[str, str],
) -> dict[str, str | None]:
    """Assign a split to each clip; None to one that would bridge published groups.

    The result depends neither on the order of `clips`, nor on anything but the arguments.

    Args:
        clips: all of the dataset, new and published.
        fractions: share of the groups by split; they add up to 1.
        published: clip id -> split, which is not changed.
    """
    ordered = sorted(clips, key=lambda clip: (clip.clip_id not in published, clip.clip_id))
    earlier: defaultdict[int, list[int]] = defaultdict(list)
    for i, j in duplicates(ordered):
        earlier[j].append(i)
    groups = _Groups()
    bridges: set[str] = set()
    for index, clip in enumerate(ordered):
        ties = _ties(clip) + [ordered[i].clip_id for i in earlier[index]]
        if not groups.add(clip.clip_id, published.get(clip.clip_id), set(ties) - bridges):
            bridges.add(clip.clip_id)
    return {
        clip.clip_id: None
        if clip.clip_id in bridges
        else groups.split(clip.clip_id) or _drawn(groups.first(clip.clip_id), fractions, seed)
        for clip in ordered
    }


def check_splits(clips: Iterable[SplitClip], splits: Mapping[str, str]) -> list[str]:
    """Find ties between clips of different splits, in words; none in a sound dataset."""
    ordered = sorted(clips, key=lambda clip: clip.clip_id)
    members: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for clip in ordered:
        for tie in _ties(clip):
            members[tie].setdefault(splits[clip.clip_id], clip.clip_id)
    faults = [
        f"{tie} is in {' and '.join(f'{split} ({name})' for split, name in found.items())}"
        for tie, found in members.items()
        if len(found) > 1
    ]
    for i, j in duplicates(ordered):
        a, b = ordered[i].clip_id, ordered[j].clip_id
        if splits[a] != splits[b]:
            faults.append(f"near-duplicates are in {splits[a]} ({a}) and {splits[b]} ({b})")
    return faults


def _ties(clip: SplitClip) -> list[str]:
    """Names of what a clip has in common with others; no clip id contains a space."""
    return [f"{kind} {value}" for kind, value in clip.ties().items()]


def _drawn(name: str, fractions: Mapping[str, float], seed: int) -> str:
    """The split that a seeded hash of a group's name falls into."""
    number = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")
    point = number / 2**64
    splits = sorted(split for split, fraction in fractions.items() if fraction > 0)
    for split in splits:
        point -= fractions[split]
        if point < 0:
            return split
    return splits[-1]


class _Groups:
    """Union–find over clips and their ties; each group knows its split and its first clip."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._split: dict[str, str] = {}
        self._first: dict[str, str] = {}

    def add(self, clip_id: str, split: str | None, ties: set[str]) -> bool:
        """Join a clip with its ties; False, and nothing done, if it would bridge two splits."""
        roots = sorted({self._root(tie) for tie in ties})
        splits = {self._split[root] for root in roots if root in self._split}
        if split is None and len(splits) > 1:
            return False
        self._first[self._root(clip_id)] = clip_id
        if split is not None:
            self._split[self._root(clip_id)] = split
            if splits - {split}:
                logger.warning("%s is published apart from its group; it stays", clip_id)
                roots = [root for root in roots if self._split.get(root, split) == split]
        for root in roots:
            self._join(self._root(clip_id), root)
        return True

    def split(self, clip_id: str) -> str | None:
        """Where the clip's group is published, if it is."""
        return self._split.get(self._root(clip_id))

    def first(self, clip_id: str) -> str:
        """The smallest id in the clip's group."""
        return self._first[self._root(clip_id)]

    def _root(self, name: str) -> str:
        parent = self._parent.setdefault(name, name)
        while parent != name:
            self._parent[name] = self._parent[parent]
            name, parent = parent, self._parent[parent]
        return name

    def _join(self, a: str, b: str) -> None:
        root, other = sorted((a, b))
        if root == other:
            return
        self._parent[other] = root
        if other in self._split:
            self._split[root] = self._split[other]
        firsts = [self._first[name] for name in (root, other) if name in self._first]
        if firsts:
            self._first[root] = min(firsts)
