"""When a worker has grown too large to begin another item."""

import mmap
from typing import Any

from avipipe.pipeline.memory import GROWTH, MemoryWatch, resident_bytes

MB = 1 << 20


def test_what_is_held_is_seen() -> None:
    # Mapped, as an allocator might hand out memory that is resident already.
    before = resident_bytes()
    with mmap.mmap(-1, 64 * MB) as held:
        held.write(b"1" * 64 * MB)
        assert resident_bytes() - before > 50 * MB
    assert resident_bytes() - before < 40 * MB


def test_growth_is_over_once_it_passes_the_limit() -> None:
    watch = MemoryWatch(limit_bytes=GROWTH * resident_bytes() + 64 * MB)
    held: list[Any] = []
    assert not watch.is_over()
    assert not watch.is_over()
    while not watch.is_over():
        assert len(held) < 100
        held.append(mmap.mmap(-1, 32 * MB))
        held[-1].write(b"1" * 32 * MB)
    assert len(held) >= 2


def test_a_model_that_needs_more_than_the_limit_is_left_alone() -> None:
    watch = MemoryWatch(limit_bytes=1)
    assert not any(watch.is_over() for _ in range(5))
