"""Writes numbered pictures and the track into files, with ffmpeg."""

import tempfile
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from avipipe.media.ffmpeg import run
from tests.containers.signals import COLUMNS, ROWS, draw, sound
from tests.containers.truth import Part

SIZE = "176x144"
"""The one size that H.263 shares with all others."""

GOP = 25
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-g", str(GOP))
HEVC = ("-c:v", "libx265", "-preset", "veryfast", "-crf", "16", "-tag:v", "hvc1")
X265 = "log-level=error:pools=1:frame-threads=1"
AAC = ("-c:a", "aac", "-b:a", "128k")
FLAC = ("-c:a", "flac")


def encode(
    path: Path,
    options: Sequence[str] = (),
    *,
    fps: Fraction | int = 25,
    count: int = 175,
    first: int = 0,
    numbers: Iterable[int] | None = None,
    size: str = SIZE,
    picture_filter: str = "null",
    rate_hz: int = 44_100,
    channels: int = 1,
    content_s: float = 0.0,
    sound_s: float | None = None,
    video_late_s: float = 0.0,
    audio_late_s: float = 0.0,
) -> Path:
    """Encode `count` pictures from number `first` on, and the track from `content_s` on.

    Args:
        options: of the output; the last of two that contradict each other wins.
        numbers: of the pictures, where they do not simply follow one another.
        picture_filter: applied to the enlarged pictures.
        sound_s: how much sound there is; as long as the pictures unless given.
        video_late_s, audio_late_s: added to the timestamps.
    """
    numbers = list(numbers if numbers is not None else range(first, first + count))
    duration_s = sound_s if sound_s is not None else float(len(numbers) / Fraction(fps))
    with tempfile.TemporaryDirectory() as name:
        cells, wave = Path(name) / "cells", Path(name) / "wave"
        cells.write_bytes(np.stack([draw(number) for number in numbers]).tobytes())
        wave.write_bytes(sound(content_s, duration_s, rate_hz).tobytes())
        width, height = size.split("x")
        graph = f"scale={width}:{height}:flags=neighbor,setsar=1,{picture_filter}"
        args = ["-itsoffset", str(video_late_s), "-f", "rawvideo", "-pixel_format", "gray"]
        args += ["-video_size", f"{COLUMNS}x{ROWS}", "-framerate", str(fps), "-i", str(cells)]
        args += ["-f", "s16le", "-ar", str(rate_hz), "-ac", "1", "-i", str(wave)]
        args += ["-map", "0:v", "-map", "1:a", "-vf", graph]
        args += ["-af", f"asetpts=PTS+{audio_late_s}/TB"]
        args += ["-pix_fmt", "yuv420p", "-ac", str(channels), "-threads", "1", *options]
        run([*args, str(path)], timeout_s=120)
    return path


def remux(path: Path, source: Path, *before: str, after: Sequence[str] = ()) -> Path:
    """Copy the streams of a file without encoding again; `before` goes before the input."""
    run([*before, "-i", str(source), "-map", "0", "-c", "copy", *after, str(path)], timeout_s=60)
    return path


def join(path: Path, *pieces: Path) -> Path:
    """One file after another, byte by byte, as recorders of transport streams do."""
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    return path


def placed(path: Path, part: Part) -> Part:
    """`part`, moved from the clock it was written with to the source time of the file.

    The file's first shown picture is the part's first. Read off the packets alone: nothing is
    decoded, nothing is sought.
    """
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.video)
        origin_s = (container.start_time or 0) / av.time_base
        first_s = min(
            float(time * packet.time_base)
            for packet in container.demux(stream)
            if (time := packet.dts if packet.pts is None else packet.pts) is not None
            and packet.size
            and not packet.is_discard
        )
    return part.later(first_s - origin_s - part.times_s[0])
