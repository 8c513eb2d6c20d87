import numpy as np
import pytest

from avipipe.media.fingerprint import same_audio, same_video, video_phash

A, B, C, D = "00000000ffffffff", "0f0f0f0f0f0f0f0f", "3333333333333333", "5555555555555555"
NEAR_A = "00000000ffffffc0"  # six bits of A differ
FAR_A = "00000000ffffff80"  # seven


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((A, B, C), (A, B, D), True),
        ((A, B, C), (D, B, A), True),
        ((A, B, C), (A, None, D), False),
        ((A, A, A), (A, B, C), False),
        ((A, A, B), (NEAR_A, NEAR_A, D), True),
        ((A, A, B), (FAR_A, FAR_A, D), False),
        ((None, None, None), (None, None, None), False),
    ],
)
def test_same_video_wants_two_pictures(
    one: tuple[str | None, ...], other: tuple[str | None, ...], same: bool
) -> None:
    assert same_video(one, other) is same
    assert same_video(other, one) is same


def test_pictures_without_content_have_no_hash() -> None:
    rng = np.random.default_rng(0)
    black = np.zeros((90, 160, 3), np.uint8)
    grain = rng.integers(100, 106, (90, 160, 3), dtype=np.uint8)
    scene = np.repeat(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8), 10, axis=0)
    scene = np.repeat(scene, 10, axis=1)
    black_hash, grain_hash, scene_hash = video_phash([black, grain, scene])
    assert (black_hash, grain_hash) == (None, None)
    assert scene_hash is not None
    assert int(scene_hash, 16) < 1 << 64


def words(seed: int, count: int = 40) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.random.default_rng(seed).integers(0, 1 << 32, count, dtype=np.uint32)


def test_same_audio_is_found_at_its_offset() -> None:
    a = words(0)
    noise = (np.uint32(1) << words(1, 30) % 32) | (np.uint32(1) << words(2, 30) % 32)
    b = a[7:37] ^ noise
    assert same_audio(a, b, offset=7)
    assert same_audio(b, a, offset=-7)
    assert not same_audio(a, b, offset=6)


def test_short_overlap_and_silence_prove_nothing() -> None:
    a = words(0)
    assert not same_audio(a, a[-7:], offset=33)
    assert same_audio(a, a[-8:], offset=32)
    silence = np.full(40, 627964279, np.uint32)
    assert not same_audio(silence, silence, offset=0)
