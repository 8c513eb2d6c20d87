"""Frames at the size that is edited, kept without loss, in segments that are whole or not there."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.errors import RunError
from avipipe.files import written_whole
from avipipe.manifests.samples import FPS
from avipipe.media.container import open_media

Pictures = npt.NDArray[np.uint8]

_FORMATS: dict[str, tuple[str, str]] = {"rgb24": ("bgr0", "rgb24"), "gray": ("gray", "gray")}


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


def write_lossless(
    path: Path, frames: Pictures | Iterator[Pictures], kind: Literal["rgb24", "gray"]
) -> None:
    """Write uint8 frames (H, W, 3) or (H, W) as FFV1 in Matroska, whole or not at all."""
    stored, given = _FORMATS[kind]
    options = {"fflags": "+bitexact"}
    with (
        written_whole(path) as draft,
        av.open(str(draft), "w", format="matroska", container_options=options) as container,
    ):
        stream = container.add_stream("ffv1", rate=FPS)
        stream.pix_fmt = stored
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for number, picture in enumerate(frames):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=given)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame.reformat(format=stored, threads=1)))
        container.mux(stream.encode())


def read_lossless(path: Path, kind: Literal["rgb24", "gray"]) -> Pictures:
    """What `write_lossless` wrote: (F, H, W, 3) or (F, H, W)."""
    with open_media(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = [
            np.asarray(frame.to_ndarray(format=kind), np.uint8)
            for frame in container.decode(video=0)
        ]
    return np.stack(frames)
