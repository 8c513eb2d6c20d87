"""Keeps an eye on what a worker holds, so that a leak in native code ends it between two items."""

import os
from pathlib import Path

GROWTH = 1.5
"""Factor on a process's memory after its first item up to which it may always grow."""


class MemoryWatch:
    """Watches the memory of this process; ask it before each item.

    Args:
        limit_bytes: what the process may hold; more only if its first item already takes that.
    """

    def __init__(self, limit_bytes: float) -> None:
        self._limit_bytes = limit_bytes
        self._num_items = 0

    def is_over(self) -> bool:
        """Whether the process has grown too large to begin another item."""
        held_bytes = resident_bytes()
        if self._num_items == 1:
            self._limit_bytes = max(self._limit_bytes, GROWTH * held_bytes)
        self._num_items += 1
        return self._num_items > 1 and held_bytes > self._limit_bytes


def resident_bytes() -> int:
    """Resident memory of this process in bytes; 0 where the system does not tell (no Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
