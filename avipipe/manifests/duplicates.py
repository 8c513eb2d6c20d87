"""Finds near-duplicate clips by their fingerprints, among hundreds of thousands, without n² work.

Codes that differ in few bits agree in at least one of a few bands of bits, or all but one bit of
it, so looking into the buckets of each band finds every such pair.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avipipe.media.fingerprint import (
    MAX_BITS,
    MIN_DISTINCT,
    MIN_WORDS,
    NUM_FRAMES,
    Words,
    same_audio,
)

MAX_SHARED = 64
"""A single code that more sources share in different company, such as that of a logo or a hum,
says nothing about a pair."""

_CHUNK_PAIRS = 1 << 19
"""Pairs that are compared at a time, which bounds the memory."""
_BAND_BITS = 16
"""Width of a band: its 65,536 values fit into a table, and two codes seldom share one by chance."""

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint64] | npt.NDArray[np.uint32]
Pairs = Iterator[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class SplitClip:
    """What a clip is grouped by for its split: ties and fingerprints.

    Attributes:
        channel: channel or uploader of the source; empty if unknown.
        video: `video_phash`, a hash or None for each picture.
        audio: `audio_chromaprint`, uint32; empty if unknown.
    """

    clip_id: str
    source_id: str
    channel: str
    video: tuple[str | None, ...]
    audio: Words

    def ties(self) -> dict[str, str]:
        """Ties of the clip, kind -> value; clips with an equal one belong together."""
        ties = {"source": self.source_id}
        if self.channel:
            ties["channel"] = self.channel
        if sum(code is not None for code in self.video) >= 2:
            ties["pictures"] = " ".join(code or "none" for code in self.video)
        if _is_telling(self.audio):
            ties["sound"] = hashlib.sha256(self.audio.tobytes()).hexdigest()[:16]
        return ties


def duplicates(clips: Sequence[SplitClip]) -> list[tuple[int, int]]:
    """Find index pairs (i < j, sorted) of clips that look or sound alike and share no tie."""
    ties = [clip.ties() for clip in clips]
    kinds = {
        kind: _numbered([tie.get(kind, "") for tie in ties])
        for kind in ("source", "channel", "pictures", "sound")
    }
    return sorted({*_video_pairs(clips, kinds), *_audio_pairs(clips, kinds)})


def _numbered(names: Sequence[str]) -> Ints:
    """A number for each different name, -1 for the empty one."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, names)))}
    return np.array([numbers.get(name, -1) for name in names], np.int64)


def _untied(kinds: Mapping[str, Ints], a: Ints, b: Ints) -> npt.NDArray[np.bool_]:
    """For each pair of clips, whether they have no tie in common."""
    apart = np.ones(a.size, np.bool_)
    for numbers in kinds.values():
        apart &= (numbers[a] != numbers[b]) | (numbers[a] < 0)
    return apart


def _video_pairs(
    clips: Sequence[SplitClip], kinds: Mapping[str, Ints]
) -> Iterator[tuple[int, int]]:
    rows = [
        (clip, frame, int(code, 16))
        for clip, entry in enumerate(clips)
        for frame, code in enumerate(entry.video)
        if code is not None
    ]
    clip_of, frame_of = (np.array([row[n] for row in rows], np.int64) for n in (0, 1))
    codes = np.array([row[2] for row in rows], np.uint64)
    kept = _rare(codes, kinds["source"][clip_of]) | _rare(codes, kinds["pictures"][clip_of])
    clip_of, frame_of, codes = clip_of[kept], frame_of[kept], codes[kept]
    pairs, matches = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for i, j in _near(codes, num_bits=64, max_bits=MAX_BITS):
        i, j = _filtered(i, j, _untied(kinds, clip_of[i], clip_of[j]))
        pairs.append(clip_of[i] * len(clips) + clip_of[j])
        matches.append(1 << (frame_of[i] * NUM_FRAMES + frame_of[j]))
    found, inverse = np.unique(np.concatenate(pairs), return_inverse=True)
    likeness = np.zeros(found.size, np.int64)
    np.bitwise_or.at(likeness, inverse, np.concatenate(matches))
    for pair in found[_TWO_PICTURES[likeness]].tolist():
        yield divmod(pair, len(clips))


def _two_pictures() -> npt.NDArray[np.bool_]:
    """For each set of matches, bit 3 a + b for picture a of one clip like b of the other:
    whether two pictures of each have a match of their own."""
    table = np.zeros(1 << NUM_FRAMES**2, np.bool_)
    for matches in range(table.size):
        bits = [divmod(n, NUM_FRAMES) for n in range(NUM_FRAMES**2) if matches >> n & 1]
        table[matches] = any(a != c and b != d for a, b in bits for c, d in bits)
    return table


_TWO_PICTURES = _two_pictures()


def _audio_pairs(clips: Sequence[SplitClip], kinds: Mapping[str, Ints]) -> Pairs:
    found = [_distinct_words(clip.audio) for clip in clips]
    clip_of = np.repeat(np.arange(len(clips)), [words.size for words, _ in found])
    codes = np.concatenate([np.empty(0, np.uint32), *(words for words, _ in found)])
    place = np.concatenate([np.empty(0, np.int64), *(places for _, places in found)])
    del found
    kept = _rare(codes, kinds["source"][clip_of]) | _rare(codes, kinds["sound"][clip_of])
    clip_of, place, codes = clip_of[kept], place[kept], codes[kept]
    candidates = [np.empty((0, 3), np.int64)]
    for i, j in _near(codes, num_bits=32, max_bits=1):
        i, j = _filtered(i, j, _untied(kinds, clip_of[i], clip_of[j]))
        candidates.append(np.stack([clip_of[i], clip_of[j], place[i] - place[j]], axis=1))
    same = (-1, -1)
    for a, b, offset in np.unique(np.concatenate(candidates), axis=0).tolist():
        if (a, b) != same and same_audio(clips[a].audio, clips[b].audio, offset=offset):
            same = (a, b)
            yield same


def _is_telling(words: Words) -> bool:
    """Whether sound is long and varied enough to be compared."""
    return words.size >= MIN_WORDS and np.unique(words).size >= MIN_DISTINCT


def _distinct_words(words: Words) -> tuple[Words, Ints]:
    """Each different word and its first place; none of sound that tells nothing."""
    if not _is_telling(words):
        return np.empty(0, np.uint32), np.empty(0, np.int64)
    return np.unique(words, return_index=True)


def _rare(codes: Codes, groups: Ints) -> npt.NDArray[np.bool_]:
    """Marks the codes that are found in at most `MAX_SHARED` different groups."""
    _, number = np.unique(codes, return_inverse=True)
    width = int(groups.max(initial=-1)) + 2
    uses = np.unique(number * width + groups + 1) // width
    marked: npt.NDArray[np.bool_] = (np.bincount(uses) <= MAX_SHARED)[number]
    return marked


def _near(codes: Codes, *, num_bits: int, max_bits: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield, in chunks, rows (i < j) whose codes differ in at most `max_bits` bits.

    A pair may come several times. With n bands, one of them differs in max_bits // n bits.
    """
    num_bands = num_bits // _BAND_BITS
    flips = [0, *(1 << bit for bit in range(_BAND_BITS))] if max_bits >= num_bands else [0]
    assert max_bits < 2 * num_bands
    for band in range(num_bands):
        keys = (codes >> codes.dtype.type(band * _BAND_BITS)).astype(np.int64) & 0xFFFF
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(0x10001))
        for flip in flips:
            wanted = keys ^ flip
            for i, places in _expanded(starts[wanted], starts[wanted + 1]):
                j = order[places]
                near = np.bitwise_count(codes[i] ^ codes[j]) <= max_bits
                yield _filtered(i, j, near & (i < j))


def _expanded(first: Ints, end: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Every place in [first, end) of every row, as (row, place), in chunks."""
    counts = end - first
    chunk_of = np.cumsum(counts) // _CHUNK_PAIRS
    for chunk in np.unique(chunk_of):
        rows = np.flatnonzero((chunk_of == chunk) & (counts > 0))
        sizes = counts[rows]
        inner = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield np.repeat(rows, sizes), np.repeat(first[rows], sizes) + inner


def _filtered(i: Ints, j: Ints, keep: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    return i[keep], j[keep]
