"""Pictures kept without loss: FFV1 in Matroska, 24 a second."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from avipipe.files import written_whole
from avipipe.media.container import open_media
from avipipe.media.normalize import FPS

Pictures = npt.NDArray[np.uint8]

_FORMATS: dict[str, tuple[str, str]] = {"rgb24": ("bgr0", "rgb24"), "gray": ("gray", "gray")}
"""What is given -> what is stored, and what is given, in PyAV's names."""


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
            frame.pts, frame.time_base = number, 1 / FPS
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
