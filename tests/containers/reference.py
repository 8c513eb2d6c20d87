"""What the ffmpeg command line makes of a whole file, without any seek: the second opinion."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from avipipe.errors import MediaError
from avipipe.media.ffmpeg import run
from tests.containers.judge import time_of
from tests.containers.signals import COLUMNS, RATE_HZ, ROWS, Wave, read
from tests.containers.truth import Truth

_CELL_PX = 8
_MAX_LOST_S = 0.2


@dataclass(frozen=True)
class Decoded:
    """Numbers and their times in source time (where ffmpeg, too, starts to count), and the sound.

    `wave_N` begins at `first_s`; gaps are filled with zeros.
    """

    numbers: tuple[int | None, ...]
    times_s: tuple[float, ...]
    wave_N: Wave
    first_s: float

    def holds(self, truth: Truth) -> bool:
        """Whether it is all there: every picture in order, and as much sound."""
        heard_s = sum(s.end_s - max(s.start_s, 0) for part in truth.parts for s in part.sounds)
        seen = tuple(dict.fromkeys(number for number in self.numbers if number is not None))
        return seen == truth.numbers and len(self.wave_N) / RATE_HZ > heard_s - _MAX_LOST_S


def decode_whole(path: Path, folder: Path) -> Decoded | None:
    """`ffmpeg -i path`, all of it; None where ffmpeg gives up."""
    whole = folder / "whole.nut"
    size = f"{COLUMNS * _CELL_PX}:{ROWS * _CELL_PX}"
    args = ["-i", str(path), "-map", "0:v:0", "-map", "0:a:0", "-fps_mode", "passthrough"]
    args += ["-enc_time_base:v", "1:90000", "-c:v", "rawvideo"]
    args += ["-vf", f"scale={size}:flags=area,format=gray"]
    args += ["-af", f"aresample={RATE_HZ}:async=1:min_hard_comp=0.02", "-c:a", "pcm_s16le"]
    args += ["-ac", "1", "-avoid_negative_ts", "disabled", "-f", "nut", str(whole)]
    try:
        run(args, timeout_s=120)
    except MediaError:
        return None
    numbers: list[int | None] = []
    times_s: list[float] = []
    chunks = [np.zeros(0)]
    first_s = None
    with av.open(str(whole)) as container:
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                numbers.append(read(frame.to_ndarray().astype(np.uint8)))
                times_s.append(float(time_of(frame)))
            elif isinstance(frame, av.AudioFrame):
                first_s = float(time_of(frame)) if first_s is None else first_s
                chunks.append(frame.to_ndarray()[0] / 32768)
    return Decoded(tuple(numbers), tuple(times_s), np.concatenate(chunks), first_s or 0.0)
