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

    `wave_N` begins at source time 0; where there is no sound it is zero.
    """

    numbers: tuple[int | None, ...]
    times_s: tuple[float, ...]
    wave_N: Wave

    def holds(self, truth: Truth) -> bool:
        """Whether it is all there: every picture in order, and as much sound."""
        heard_s = sum(s.end_s - max(s.start_s, 0.0) for part in truth.parts for s in part.sounds)
        found_s = int(np.count_nonzero(self.wave_N)) / RATE_HZ
        seen = tuple(dict.fromkeys(number for number in self.numbers if number is not None))
        return bool(seen == truth.numbers and found_s > heard_s - _MAX_LOST_S)


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
    chunks: list[Wave] = []
    with av.open(str(whole)) as container:
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                numbers.append(read(frame.to_ndarray().astype(np.uint8)))
                times_s.append(float(time_of(frame)))
            elif isinstance(frame, av.AudioFrame):
                # Not by the filter's `first_pts`, which pads again where the sound's form changes.
                chunks = chunks or [np.zeros(round(time_of(frame) * RATE_HZ))]
                chunks.append(frame.to_ndarray()[0] / 32768)
    return Decoded(tuple(numbers), tuple(times_s), np.concatenate(chunks or [np.zeros(0)]))
