"""The table of all files: how each is made, and what it holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.containers.encode import GOP, encode, placed
from tests.containers.truth import Sound, Truth, steady


@dataclass(frozen=True)
class Source:
    """A file, what it holds, and every how many pictures there is a key frame.

    `others` are as right as `truth`: a gap in the timestamps may be kept, or closed.
    """

    path: Path
    truth: Truth
    gop: int = GOP
    others: tuple[Truth, ...] = ()


Maker = Callable[[Path], Source]
"""Writes a file into an empty folder."""


def plain(
    suffix: str,
    options: Sequence[str],
    *,
    fps: Fraction | int = 25,
    count: int | None = None,
    gop: int = GOP,
    num_delay: int = 0,
    num_lost: int = 0,
    num_faded: int = 0,
    **how: Any,
) -> Maker:
    """A file that is encoded in one go; `how` goes to `encode`.

    Args:
        num_delay: samples by which the encoder delays the sound, where the file cannot say so.
        num_lost: samples at the beginning that decoders need for a run-in, and do not give.
        num_faded: samples at the end that a lapped transform without a next frame fades out.
    """
    count = count or round(7 * fps)
    rate_hz = how.get("rate_hz", 44_100)
    coder_s = num_delay / rate_hz

    def make(folder: Path) -> Source:
        path = folder / f"source.{suffix}"
        encode(path, [*options, "-g", str(gop)], fps=fps, count=count, **how)
        late_s = how.get("audio_late_s", 0.0) - how.get("video_late_s", 0.0)
        length_s = how.get("sound_s") or float(count / Fraction(fps))
        late_s += coder_s
        heard_s = late_s + num_lost / rate_hz, late_s + length_s - num_faded / rate_hz
        part = steady(fps, count, sound_s=heard_s, content_s=-late_s)
        return Source(path, Truth((placed(path, part),)), gop)

    return make


def avi(
    options: Sequence[str],
    *,
    fps: Fraction | int = 25,
    gop: int = GOP,
    num_delay: int = 0,
    num_reordered: int = 0,
    **how: Any,
) -> Maker:
    """An AVI: it has no timestamps, so each stream begins at 0 and counts its own chunks.

    Args:
        num_delay: samples by which the encoder delays the sound.
        num_reordered: pictures by which B-frames delay the pictures.
    """
    count = round(7 * fps)
    begin_s = num_delay / how.get("rate_hz", 44_100)
    first_s = float(num_reordered / Fraction(fps))

    def make(folder: Path) -> Source:
        path = folder / "source.avi"
        as_counted = ("-avoid_negative_ts", "disabled", "-g", str(gop))
        encode(path, [*options, *as_counted], fps=fps, count=count, **how)
        length_s = float(count / Fraction(fps))
        pictures = steady(fps, count).later(first_s)
        sound = Sound(begin_s, begin_s + length_s, 0.0)
        return Source(path, Truth((replace(pictures, sounds=(sound,)),)), gop)

    return make
