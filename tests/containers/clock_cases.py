"""Files whose timestamps restart, wrap, jump or claim too much."""

from dataclasses import replace
from pathlib import Path

from tests.containers.cases import Maker, Source
from tests.containers.encode import AAC, H264, encode, join, placed
from tests.containers.splice import Chunk, Edit, Piece, splice
from tests.containers.truth import Sound, Truth, steady

_PART_S = 4.0
_WRAP_S = 2**33 / 90_000
_AT_ONCE = ("-muxdelay", "0", "-muxpreload", "0")


def joined_streams(offset_s: float, *, at_s: float, is_closed_too: bool = False) -> Maker:
    """Two transport streams, one after the other, the second with its timestamps `offset_s` later.

    Args:
        at_s: where the second part belongs in source time, if the first begins at 0.
        is_closed_too: whether it may as well follow the first at once.
    """

    def make(folder: Path) -> Source:
        pieces = [
            encode(
                folder / f"{name}.ts",
                [*H264, *AAC, *_AT_ONCE, "-output_ts_offset", str(1 + late_s)],
                count=100,
                first=first,
                content_s=first / 25,
                rate_hz=48_000,
            )
            for name, first, late_s in (("first", 0, 0.0), ("second", 100, offset_s))
        ]
        path = join(folder / "source.ts", *pieces)
        first = placed(pieces[0], steady(25, 100))
        second = steady(25, 100, first=100, content_s=_PART_S).later(first.times_s[0])
        # The parts may lie apart by what the one's sound is longer than its pictures.
        second = replace(second, slack_s=0.1)
        kept, closed = (Truth((first, second.later(late_s))) for late_s in (at_s, _PART_S))
        return Source(path, kept, others=(closed,) if is_closed_too else ())

    return make


def negative(folder: Path) -> Source:
    """A Matroska file that begins before 0: its sound at -0.419 s, its pictures at -0.4 s."""
    options = [*H264, *AAC, "-output_ts_offset", "-0.4", "-avoid_negative_ts", "disabled"]
    path = encode(folder / "source.mkv", options)
    # ffmpeg's demuxer gives pictures before 0 no times: those after it say where they are.
    run_in_s = 1024 / 44_100
    sound = Sound(run_in_s, 7 + run_in_s, 0.0)
    return Source(path, Truth((replace(steady(25, 175).later(0.019), sounds=(sound,)),)))


def wrapped(offset_s: float) -> Maker:
    """A transport stream whose timestamps pass 2^33 ticks of 90 kHz, and go on from 0."""

    def make(folder: Path) -> Source:
        options = [*H264, *AAC, *_AT_ONCE, "-output_ts_offset", str(_WRAP_S - offset_s)]
        path = encode(folder / "source.ts", options, rate_hz=48_000)
        # As the same stream is placed that does not wrap.
        calm = encode(
            folder / "calm.ts", [*H264, *AAC, *_AT_ONCE, "-output_ts_offset", "9"], rate_hz=48_000
        )
        return Source(path, Truth((placed(calm, steady(25, 175)),)))

    return make


def claiming(suffix: str, edit: Edit) -> Maker:
    """A file of 7 s whose last picture says that it lasts, or comes, hours later."""

    def make(folder: Path) -> Source:
        whole = encode(folder / f"whole.{suffix}", [*H264, "-bf", "0", *AAC])
        path = splice(
            folder / f"source.{suffix}", [Piece(whole)], [Piece(whole)], edit_pictures=edit
        )
        return Source(path, Truth((placed(path, steady(25, 175)),)))

    return make


_HOURS_4 = 4 * 3600 * 90_000


def _last_comes_late(chunks: list[Chunk]) -> list[Chunk]:
    last = chunks[-1]
    return [*chunks[:-1], replace(last, pts=last.pts + _HOURS_4, dts=last.dts + _HOURS_4)]


def _last_lasts(chunks: list[Chunk]) -> list[Chunk]:
    return [*chunks[:-1], replace(chunks[-1], duration=_HOURS_4)]


CLOCKS: dict[str, Maker] = {
    "MKV from -0.4 s on": negative,
    "TS PTS restart": joined_streams(0.0, at_s=_PART_S),
    "TS PTS back by 2 s": joined_streams(2.0, at_s=_PART_S),
    "TS PTS jump 40 s": joined_streams(_PART_S + 40, at_s=_PART_S + 40, is_closed_too=True),
    "TS PTS jump 1 s": joined_streams(_PART_S + 1, at_s=_PART_S + 1, is_closed_too=True),
    "TS PTS wrap after 3 s": wrapped(3.0),
    "TS PTS wrap before the pictures": wrapped(0.01),
    "MKV last picture comes 4 h later": claiming("mkv", _last_comes_late),
    "MP4 last picture lasts 4 h": claiming("mp4", _last_lasts),
    "FLV last picture comes 4 h later": claiming("flv", _last_comes_late),
}
