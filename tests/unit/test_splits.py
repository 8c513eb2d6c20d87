from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avipipe.manifests.duplicates import MAX_SHARED, SplitClip, duplicates
from avipipe.manifests.splits import assign_splits, check_splits
from avipipe.media.fingerprint import same_audio, same_video

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
SILENT = np.empty(0, np.uint32)


def words(seed: int, count: int = 30) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.random.default_rng(seed).integers(0, 1 << 32, count, dtype=np.uint32)


def hashes(seed: int) -> tuple[str, ...]:
    rng = np.random.default_rng(1000 + seed)
    return tuple(f"{value:016x}" for value in rng.integers(0, 1 << 63, 3).tolist())


def clip(
    name: str, source: str = "", channel: str = "", look: int = -1, sound: int = -1
) -> SplitClip:
    video = hashes(look) if look >= 0 else (None, None, None)
    return SplitClip(name, source or name, channel, video, words(sound) if sound >= 0 else SILENT)


CLIPS = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.sampled_from(["", "a", "b", "c"]),
        st.integers(-1, 6),
        st.integers(-1, 6),
    ),
    max_size=14,
).map(
    lambda rows: [
        clip(f"c{n:02d}", f"s{source}", channel, look, sound)
        for n, (source, channel, look, sound) in enumerate(rows)
    ]
)


def tied(a: SplitClip, b: SplitClip) -> bool:
    """Whether two clips must be together, from the definition."""
    return (
        a.source_id == b.source_id
        or (a.channel != "" and a.channel == b.channel)
        or same_video(a.video, b.video)
        or (a.audio.size > 0 and b.audio.size > 0 and same_audio(a.audio, b.audio, offset=0))
    )


@given(CLIPS, st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_no_tie_crosses_a_split(clips: list[SplitClip], seed: int) -> None:
    splits = assign_splits(clips, fractions=FRACTIONS, seed=seed, published={})
    assert set(splits) == {entry.clip_id for entry in clips}
    assert set(splits.values()) <= set(FRACTIONS)
    for a, b in combinations(clips, 2):
        assert not tied(a, b) or splits[a.clip_id] == splits[b.clip_id]
    assert check_splits(clips, {name: split or "" for name, split in splits.items()}) == []


@given(CLIPS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_order_does_not_matter(clips: list[SplitClip], random: object) -> None:
    shuffled = list(clips)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = assign_splits(clips, fractions=FRACTIONS, seed=0, published={})
    assert assign_splits(shuffled, fractions=FRACTIONS, seed=0, published={}) == one


@given(CLIPS, st.sets(st.integers(0, 13)))
@settings(deadline=None, max_examples=40)
def test_published_clips_never_move(clips: list[SplitClip], first: set[int]) -> None:
    old = [entry for n, entry in enumerate(clips) if n in first]
    earlier = assign_splits(old, fractions=FRACTIONS, seed=0, published={})
    published = {name: split for name, split in earlier.items() if split}
    splits = assign_splits(clips, fractions=FRACTIONS, seed=0, published=published)
    assert {name: splits[name] for name in published} == published
    kept = [entry for entry in clips if splits[entry.clip_id] is not None]
    for a, b in combinations(kept, 2):
        assert not tied(a, b) or splits[a.clip_id] == splits[b.clip_id]


def test_a_new_clip_follows_its_group_and_a_bridge_has_no_split() -> None:
    old = [clip("a", channel="x", look=1), clip("b", channel="y", look=2)]
    published = {"a": "train", "b": "test"}
    new = [
        clip("p", channel="x"),
        clip("q", look=2),
        clip("r", source="a", look=2),
        clip("s", source="r2", channel="x", look=2),
        clip("t", source="r2", look=5),
    ]
    splits = assign_splits([*old, *new], fractions=FRACTIONS, seed=0, published=published)
    assert splits["p"] == "train"
    assert splits["q"] == "test"
    assert splits["r"] is None
    assert splits["s"] is None
    # It is tied to the others by a clip that is left out, so to none of them.
    assert splits["t"] in FRACTIONS


def test_fractions_are_kept_over_many_groups() -> None:
    clips = [clip(f"c{n:05d}") for n in range(3000)]
    splits = list(assign_splits(clips, fractions=FRACTIONS, seed=1, published={}).values())
    for split, fraction in FRACTIONS.items():
        assert splits.count(split) / 3000 == pytest.approx(fraction, abs=0.03)
    other = list(assign_splits(clips, fractions=FRACTIONS, seed=2, published={}).values())
    assert other != splits


def test_check_names_what_crosses() -> None:
    clips = [clip("a", "s", look=1), clip("b", "s"), clip("c", look=1)]
    clips.append(replace(clip("d"), video=(None, *hashes(1)[1:])))
    faults = check_splits(clips, {"a": "train", "b": "val", "c": "test", "d": "val"})
    assert faults == [
        "source s is in train (a) and val (b)",
        f"pictures {' '.join(hashes(1))} is in train (a) and test (c)",
        "near-duplicates are in train (a) and val (d)",
        "near-duplicates are in test (c) and val (d)",
    ]


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_duplicates_are_found_through_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flips = [sum(1 << int(bit) for bit in rng.choice(64, 6, replace=False)) for _ in range(3)]
    code = [int(text, 16) for text in hashes(seed)]
    noisy = tuple(f"{value ^ flip:016x}" for value, flip in zip(code, flips, strict=True))
    one = replace(clip("a", look=seed), audio=SILENT)
    assert duplicates([one, replace(one, clip_id="b", source_id="b", video=noisy)]) == [(0, 1)]
    far = tuple(f"{value ^ 0x7F << 20:016x}" for value in code)
    assert duplicates([one, replace(one, clip_id="b", source_id="b", video=far)]) == []


@pytest.mark.parametrize("seed", range(20))
def test_audio_is_found_through_noise_and_offset(seed: int) -> None:
    one = clip("a", sound=seed)
    rng = np.random.default_rng(seed)
    # Each bit is wrong with a chance of 8 %, as half a word out of step.
    noise = np.packbits(rng.random((23, 32)) < 0.08, axis=1).view(">u4")[:, 0].astype(np.uint32)
    shifted = replace(clip("b"), audio=one.audio[7:] ^ noise)
    assert duplicates([one, shifted]) == [(0, 1)]
    assert duplicates([one, clip("b", sound=seed + 500)]) == []


def test_a_logo_or_a_hum_is_no_likeness_but_the_same_clip_is() -> None:
    names = [f"c{n:03d}" for n in range(MAX_SHARED + 1)]
    logo, hum = "00ff00ff12345678", np.full(40, 7, np.uint32)
    crowd = [SplitClip(name, name, "", (logo, None, None), hum) for name in names]
    branded = [replace(clip(name, look=n), audio=hum) for n, name in enumerate(names)]
    branded = [replace(entry, video=(logo, logo, entry.video[2])) for entry in branded]
    assert duplicates(crowd) == duplicates(branded) == []
    assert len(duplicates(branded[:-1])) == MAX_SHARED * (MAX_SHARED - 1) // 2
    copies = [clip(name, look=1) for name in names]
    splits = assign_splits(copies, fractions=FRACTIONS, seed=0, published={})
    assert len(set(splits.values())) == 1
