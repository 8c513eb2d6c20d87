"""Frames at the size that is edited, kept without loss, in segments that are whole or not there."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from avipipe.annotators.base import Frames
from avipipe.errors import RunError
from avipipe.media.lossless import read_lossless, write_lossless

SEGMENT_FRAMES = 48
"""Two seconds at 24 fps; a choice between lost work and the number of files."""


class Footage:
    """Frames (H, W, 3) of a whole video in a folder; a segment begins at the frame in its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, start: int) -> bool:
        """Whether the segment that begins at a frame is there."""
        return self._path(start).is_file()

    def write(self, start: int, frames_FHWC: Frames) -> None:
        """Keep a segment of frames (F, H, W, 3) that begins at a frame."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_lossless(self._path(start), frames_FHWC, "rgb24")

    def write_all(self, frames: Iterable[Frames]) -> None:
        """Keep all frames of a video, in segments; does nothing where that was done before."""
        done = self.folder / "all"
        if done.exists():
            return
        number, left = 0, iter(frames)
        while part := list(itertools.islice(left, SEGMENT_FRAMES)):
            self.write(number, np.stack(part))
            number += len(part)
        done.touch()

    def read(self, frames: range) -> Frames:
        """Read a range of frames, (F, H, W, 3).

        Raises:
            RunError: they are not all there.
        """
        starts = self._starts()
        found: list[Frames] = []
        for index, start in enumerate(starts):
            stop = starts[index + 1] if index + 1 < len(starts) else None
            if start >= frames.stop or (stop is not None and stop <= frames.start):
                continue
            part = read_lossless(self._path(start), "rgb24")
            found.append(part[max(frames.start - start, 0) : frames.stop - start])
        if sum(map(len, found)) != len(frames):
            raise RunError(
                f"{self.folder}: expected frames {frames.start} to {frames.stop - 1}; delete the "
                "folder and run the same command again"
            )
        return np.concatenate(found)

    @property
    def num_frames(self) -> int:
        """Of all segments; only the last one is read."""
        last = self._starts()[-1]
        return last + len(read_lossless(self._path(last), "rgb24"))

    def segments(self) -> Iterator[tuple[int, Frames]]:
        """Each first frame and its segment, in order."""
        for start in self._starts():
            yield start, read_lossless(self._path(start), "rgb24")

    def _starts(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.mkv"))

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:08d}.mkv"
