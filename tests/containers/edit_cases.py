"""MP4, MOV and others that were cut without encoding again, and edit lists of all forms."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.containers.boxes import Edit, write_edits
from tests.containers.cases import Maker, Source
from tests.containers.encode import AAC, H264, HEVC, X265, encode, placed, remux
from tests.containers.plain_cases import OPUS, VP8
from tests.containers.truth import Part, Sound, Truth, steady

OPEN_GOP_H264 = (*H264, "-x264-params", "open-gop=1:bframes=3:b-adapt=0:scenecut=0")
OPEN_GOP_HEVC = (*HEVC, "-x265-params", f"{X265}:open-gop=1:bframes=4:b-adapt=0:scenecut=0")
CLOSED_GOP_HEVC = (*HEVC, "-x265-params", f"{X265}:open-gop=0:bframes=4:b-adapt=0:scenecut=0")


def trimmed(
    suffix: str,
    options: Sequence[str],
    start_s: float,
    *,
    fps: Fraction | int = 25,
    gop: int = 100,
) -> Maker:
    """An MP4 by `ffmpeg -ss start_s -i whole -c copy`.

    It begins with a key frame, and its edit list hides the pictures before `start_s`.
    """

    def make(folder: Path) -> Source:
        count = round((start_s + 7) * fps)
        whole = folder / f"whole.{suffix}"
        encode(whole, [*options, "-g", str(gop)], fps=fps, count=count)
        path = remux(folder / f"source.{suffix}", whole, "-ss", str(start_s))
        return Source(path, Truth((_from(steady(fps, count), start_s),)), gop)

    return make


def _from(part: Part, start_s: float) -> Part:
    """What is left of a part, on the clock of its rest."""
    first = int(np.searchsorted(part.times_s, start_s - 1e-9))
    rest = replace(part, times_s=part.times_s[first:], numbers=part.numbers[first:])
    rest = rest.later(-start_s)
    return replace(rest, sounds=(Sound(0.0, rest.end_s, start_s),))


def copied(
    suffix: str,
    options: Sequence[str],
    *,
    first: int,
    num_leading: int = 0,
    sound_s: float = 0.0,
    rate_hz: int = 44_100,
) -> Maker:
    """Like `trimmed`, of a container without edit lists: all from the key frame `first` on shows.

    Args:
        num_leading: pictures of an open GOP before the first, which nothing can decode.
        sound_s: when the first whole packet of sound begins.
    """

    def make(folder: Path) -> Source:
        count, gop = 245, 50
        whole = folder / f"whole.{suffix}"
        encode(whole, [*options, "-g", str(gop)], count=count, rate_hz=rate_hz)
        path = remux(folder / f"source.{suffix}", whole, "-ss", "2.8")
        part = placed(path, _from(steady(25, count), (first - num_leading) / 25))
        content_s = part.numbers[0] / 25 - part.times_s[0] + sound_s
        sound = Sound(sound_s, part.end_s, content_s)
        shown = replace(part, times_s=part.times_s[num_leading:], sounds=(sound,))
        return Source(path, Truth((replace(shown, numbers=part.numbers[num_leading:]),)), gop)

    return make


def edited(
    suffix: str, options: Sequence[str], video: Sequence[Edit], audio: Sequence[Edit]
) -> Maker:
    """An MP4 with the given edit lists, 48 kHz, 25 fps; its media is 10 s long."""

    def make(folder: Path) -> Source:
        whole = encode(folder / f"whole.{suffix}", options, count=250, rate_hz=48_000)
        path = write_edits(folder / f"source.{suffix}", whole, video, audio)
        return Source(path, Truth((_as_edited(video, audio),)))

    return make


def _as_edited(video: Sequence[Edit], audio: Sequence[Edit]) -> Part:
    """What the standard says of the lists: each entry shows its stretch after the one before."""
    times_s: list[float] = []
    numbers: list[int] = []
    at_s = 0.0
    for edit in video:
        if edit.from_s is not None:
            first = math.ceil(edit.from_s * 25 - 1e-9)
            last = math.ceil((edit.from_s + edit.duration_s) * 25 - 1e-9)
            times_s += [at_s + n / 25 - edit.from_s for n in range(first, last)]
            numbers += range(first, last)
        at_s += edit.duration_s
    end_s, at_s = at_s, 0.0
    sounds = []
    for edit in audio:
        if edit.from_s is not None:
            sounds.append(Sound(at_s, at_s + edit.duration_s, edit.from_s))
        at_s += edit.duration_s
    return Part(tuple(times_s), tuple(numbers), end_s, tuple(sounds))


# Eight pictures at 25 fps and fifteen blocks of AAC at 48 kHz: both begin at its multiples.
_GRID_S = 0.32

TRIMMED: dict[str, Maker] = {
    "MP4 H.264 cut by copy, 33 hidden": trimmed("mp4", [*H264, *AAC], 5.32),
    "MP4 H.264 cut by copy, 120 hidden": trimmed("mp4", [*H264, *AAC], 4.8, gop=250),
    "MP4 H.264 60 fps cut by copy, 180 hidden": trimmed("mp4", [*H264, *AAC], 3.0, fps=60, gop=300),
    "MP4 H.264 open GOP cut by copy, 60 hidden": trimmed("mp4", [*OPEN_GOP_H264, *AAC], 6.4),
    "MP4 HEVC closed GOP cut by copy, 80 hidden": trimmed("mp4", [*CLOSED_GOP_HEVC, *AAC], 7.2),
    "MP4 HEVC open GOP cut by copy, 72 hidden": trimmed("mp4", [*OPEN_GOP_HEVC, *AAC], 6.88),
    "MOV H.264 cut by copy, 70 hidden": trimmed("mov", [*H264, *AAC], 6.8),
    "MP4 H.264 cut by copy between two pictures": trimmed("mp4", [*H264, *AAC], 5.3),
}
COPIED: dict[str, Maker] = {
    "MKV H.264 cut by copy": copied("mkv", [*H264, *AAC], first=50),
    "WebM VP8, Opus cut by copy": copied(
        "webm", [*VP8, *OPUS], first=50, sound_s=0.021, rate_hz=48_000
    ),
    "FLV H.264 cut by copy": copied("flv", [*H264, *AAC], first=50),
    "TS H.264 open GOP cut by copy": copied("ts", [*OPEN_GOP_H264, *AAC], first=100, num_leading=1),
}
EDITED: dict[str, Maker] = {
    "MP4 two edits": edited(
        "mp4",
        [*H264, *AAC],
        [Edit(9 * _GRID_S, 3 * _GRID_S), Edit(10 * _GRID_S, 18 * _GRID_S)],
        [Edit(9 * _GRID_S, 3 * _GRID_S), Edit(10 * _GRID_S, 18 * _GRID_S)],
    ),
    "MP4 empty edit before the picture, edit in the media": edited(
        "mp4",
        [*H264, *AAC],
        [Edit(0.8, None), Edit(6.0, 1.28)],
        [Edit(6.8, 0.48)],
    ),
    "MP4 empty edit before the sound": edited(
        "mp4", [*H264, *AAC], [Edit(7.0, 1.28)], [Edit(0.64, None), Edit(6.36, 1.92)]
    ),
    "MOV edit begins between two pictures": edited(
        "mov", [*H264, *AAC], [Edit(7.0, 1.3)], [Edit(7.0, 1.3)]
    ),
    "MP4 HEVC edit off the key frame": edited(
        "mp4", [*OPEN_GOP_HEVC, *AAC], [Edit(6.8, 2.68)], [Edit(6.8, 2.68)]
    ),
}
