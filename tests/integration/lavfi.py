"""Small media files with a known truth, drawn and synthesised by ffmpeg."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from avipipe.media.decode import read_audio, read_frames
from avipipe.media.ffmpeg import run
from avipipe.media.probe import MediaInfo, probe

EVENTS_S = (1.0, 2.0, 3.0)
"""When `flash_and_beep` files flash and beep, on the clock of their own timestamps."""

DURATION_S = 4.0
_IS_ON = "'gte(t,1)*lt(mod(t,1),0.25)'"


@dataclass(frozen=True)
class Onsets:
    """When the picture turns bright and the sound begins, in source time."""

    flashes_s: list[float]
    beeps_s: list[float]


def picture(fps: str = "25", size: str = "160x120", duration_s: float = DURATION_S) -> str:
    """A moving pattern that turns white for a quarter of a second at each event."""
    return (
        f"testsrc2=s={size}:r={fps}:d={duration_s},eq=brightness=-0.3,"
        f"drawbox=t=fill:color=white:enable={_IS_ON}"
    )


def sound(rate_hz: int = 44_100, layout: str = "mono", duration_s: float = DURATION_S) -> str:
    """Faint noise, and at each event a loud tone, alike in all channels."""
    beep = "0.5*sin(2*PI*880*t)*gte(t,1)*lt(mod(t,1),0.25)"
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    voices = "|".join([f"{beep}+0.002*(random(0)-0.5)"] * channels)
    return f"aevalsrc='{voices}':s={rate_hz}:d={duration_s}:c={layout}"


def write(
    path: Path,
    *,
    video: str | None = picture(),
    audio: str | None = sound(),
    video_offset_s: float = 0.0,
    audio_offset_s: float = 0.0,
    options: Sequence[str] = (),
) -> Path:
    """Encode two lavfi graphs into one file; `options` come last, so that they win."""
    args: list[str] = []
    for graph, offset_s in ((video, video_offset_s), (audio, audio_offset_s)):
        if graph is not None:
            args += ["-itsoffset", str(offset_s), "-f", "lavfi", "-i", graph]
    if video is not None:
        args += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25"]
    run([*args, *options, str(path)], timeout_s=60)
    return path


def remux(path: Path, source: Path, *options: str) -> Path:
    """Copy the streams of a file; `options` go before the input."""
    run([*options, "-i", str(source), "-map", "0", "-c", "copy", str(path)], timeout_s=60)
    return path


def turned(path: Path, source: Path, *, degrees: int = 0, hflip: bool = False) -> Path:
    """Copy a file, with a display matrix that turns it counter-clockwise and mirrors it."""
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        streams = {s.index: written.add_stream_from_template(s) for s in read.streams}
        turned_stream = streams[read.streams.video[0].index]
        assert isinstance(turned_stream, av.VideoStream)
        turned_stream.set_display_rotation(degrees, hflip=hflip)
        for packet in read.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                written.mux(packet)
    return path


def onsets(path: Path, *, fps: Fraction = Fraction(24), info: MediaInfo | None = None) -> Onsets:
    """Measure a `flash_and_beep` file, or a clip of one."""
    info = info or probe(path)
    frames = read_frames(path, info, start_s=0.0, end_s=info.duration_s, fps=fps, height_px=32)
    bright_T = frames.mean(axis=(1, 2, 3)) > 170
    rate_hz = 48_000
    wave_N = read_audio(
        path, info, start_s=0.0, end_s=info.duration_s, sample_rate_hz=rate_hz, mono=True
    )[0]
    return Onsets([float(n / fps) for n in _rises(bright_T)], beeps_s(wave_N, rate_hz))


def beeps_s(wave_N: npt.NDArray[np.float32], rate_hz: int) -> list[float]:
    """When a tone begins: after a tenth of a second of quiet."""
    loud = np.flatnonzero(np.abs(wave_N) > 0.05)
    gaps = np.diff(loud, prepend=-rate_hz)
    return [float(n) / rate_hz for n in loud[gaps > rate_hz / 10]]


def _rises(is_on_T: npt.NDArray[np.bool_]) -> list[int]:
    return [int(n) + 1 for n in np.flatnonzero(~is_on_T[:-1] & is_on_T[1:])]
