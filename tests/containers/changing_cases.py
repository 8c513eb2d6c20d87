"""Files whose pictures or sound change their form midway."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.containers.cases import Maker, Source
from tests.containers.encode import AAC, FLAC, H264, encode, placed
from tests.containers.plain_cases import MPEG2, OPUS, VP8, VP9
from tests.containers.splice import Piece, splice
from tests.containers.truth import Sound, Truth, steady

_BLOCK = 1024
"""Samples of a block of AAC."""


def new_pictures(
    suffix: str,
    first: Sequence[str],
    second: Sequence[str],
    *,
    sound: Sequence[str] = AAC,
    piece: str = "ts",
    first_how: dict[str, Any] | None = None,
    second_how: dict[str, Any] | None = None,
) -> Maker:
    """100 pictures of one form, then 75 of another; one track of sound."""

    def make(folder: Path) -> Source:
        parts = [
            encode(folder / f"first.{piece}", [*first, *sound], count=100, **(first_how or {})),
            encode(
                folder / f"second.{piece}",
                [*second, *sound],
                count=75,
                first=100,
                **(second_how or {}),
            ),
            encode(folder / f"sound.{piece}", [*first, *sound], count=175, rate_hz=48_000),
        ]
        path = folder / f"source.{suffix}"
        pictures = [Piece(parts[0]), Piece(parts[1], shift_s=4.0)]
        splice(path, pictures, [Piece(parts[2])])
        return Source(path, Truth((placed(path, steady(25, 175)),)))

    return make


def new_sound(rates_hz: tuple[int, int], channels: tuple[int, int] = (1, 1)) -> Maker:
    """Whole blocks of AAC of one form, then another for the rest of 7 s; one track of pictures."""
    joint_s = round(3.8 * rates_hz[0] / _BLOCK) * _BLOCK / rates_hz[0]

    def make(folder: Path) -> Source:
        pictures = encode(folder / "pictures.mkv", [*H264, "-bf", "0", *FLAC])
        pieces = []
        for n, (content_s, sound_s) in enumerate(((0.0, joint_s), (joint_s, 7 - joint_s))):
            piece = encode(
                folder / f"sound_{n}.aac",
                ["-map", "-0:v", *AAC],
                rate_hz=rates_hz[n],
                channels=channels[n],
                content_s=content_s,
                sound_s=sound_s,
            )
            # Its first block is the coder's run-in, which begins a block before the sound.
            pieces.append(Piece(piece, content_s - _BLOCK / rates_hz[n], skip=1))
        path = splice(folder / "source.ts", [Piece(pictures)], pieces)
        # Without it, each piece begins with a block that decoders fade in or leave out.
        first_s, second_s = _BLOCK / rates_hz[0], joint_s + _BLOCK / rates_hz[1]
        sounds = (Sound(first_s, joint_s, first_s), Sound(second_s, 7.0, second_s))
        part = replace(steady(25, 175), sounds=sounds)
        return Source(path, Truth((placed(path, part),)))

    return make


BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
BT601 = ("-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m")
TWICE = {"size": "352x288"}

CHANGING: dict[str, Maker] = {
    "WebM VP8 grows midway": new_pictures(
        "webm", VP8, VP8, sound=OPUS, piece="webm", second_how=TWICE
    ),
    "WebM VP9 shrinks midway": new_pictures(
        "webm", VP9, VP9, sound=OPUS, piece="webm", first_how=TWICE
    ),
    "TS H.264 grows midway": new_pictures("ts", H264, H264, second_how=TWICE),
    "MKV H.264 shrinks midway": new_pictures("mkv", H264, H264, first_how=TWICE),
    "TS H.264 4:2:0 to 4:4:4": new_pictures("ts", H264, [*H264, "-pix_fmt", "yuv444p"]),
    "TS H.264 8 to 10 bits": new_pictures("ts", H264, [*H264, "-pix_fmt", "yuv420p10le"]),
    "TS H.264 colour tags change": new_pictures(
        "ts",
        [*H264, *BT709, "-color_range", "tv"],
        [*H264, *BT601, "-color_range", "pc"],
        second_how={"picture_filter": "scale=out_range=pc"},
    ),
    "TS MPEG-2 grows midway": new_pictures(
        "ts", [*MPEG2, "-bf", "2"], [*MPEG2, "-bf", "2"], sound=["-c:a", "mp2"], second_how=TWICE
    ),
    "TS AAC mono to stereo": new_sound((48_000, 48_000), (1, 2)),
    "TS AAC stereo to 5.1": new_sound((48_000, 48_000), (2, 6)),
    "TS AAC 44.1 to 48 kHz": new_sound((44_100, 48_000)),
    "TS AAC 48 to 32 kHz": new_sound((48_000, 32_000)),
    "TS AAC 22.05 mono to 44.1 kHz stereo": new_sound((22_050, 44_100), (1, 2)),
}
