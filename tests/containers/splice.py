"""Writes files packet by packet: pieces one after another, packets joined, times as wanted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av

_TICK = Fraction(1, 90_000)
"""What packets are timed in before the muxer takes them over: it divides all rates used here."""


@dataclass(frozen=True)
class Chunk:
    """A packet: its bytes and its times in ticks of `_TICK`."""

    data: bytes
    pts: int
    dts: int
    duration: int
    is_key: bool

    def later(self, shift_s: float) -> "Chunk":
        ticks = round(shift_s / _TICK)
        return replace(self, pts=self.pts + ticks, dts=self.dts + ticks)


@dataclass(frozen=True)
class Piece:
    """One stream of a file, to be put `shift_s` later; the first `skip` packets are left out."""

    path: Path
    shift_s: float = 0.0
    skip: int = 0


Edit = Callable[[list[Chunk]], list[Chunk]]


def _as_it_is(chunks: list[Chunk]) -> list[Chunk]:
    return chunks


def splice(
    path: Path,
    pictures: Sequence[Piece],
    sounds: Sequence[Piece],
    *,
    edit_pictures: Edit = _as_it_is,
    edit_sounds: Edit = _as_it_is,
    options: dict[str, str] | None = None,
) -> Path:
    """Mux the video of `pictures` and the audio of `sounds`, each piece after the other.

    The streams' headers are those of the first pieces.
    """
    with (
        av.open(str(pictures[0].path)) as video,
        av.open(str(sounds[0].path)) as audio,
        av.open(str(path), "w", options=options or {}) as written,
    ):
        streams = [
            written.add_stream_from_template(video.streams.video[0]),
            written.add_stream_from_template(audio.streams.audio[0]),
        ]
        chunks = [(chunk, 0) for chunk in edit_pictures([*_chunks(pictures, "video")])]
        chunks += [(chunk, 1) for chunk in edit_sounds([*_chunks(sounds, "audio")])]
        for chunk, index in sorted(chunks, key=lambda timed: timed[0].dts):
            packet = av.Packet(chunk.data)
            packet.stream = streams[index]
            packet.time_base = _TICK
            packet.pts, packet.dts, packet.duration = chunk.pts, chunk.dts, chunk.duration
            packet.is_keyframe = chunk.is_key
            written.mux(packet)
    return path


def _chunks(pieces: Sequence[Piece], kind: Literal["video", "audio"]) -> Iterator[Chunk]:
    for piece in pieces:
        with av.open(str(piece.path)) as container:
            stream = container.streams.best(kind)
            found = [_chunk(packet) for packet in container.demux(stream) if packet.size]
        yield from (chunk.later(piece.shift_s) for chunk in found[piece.skip :])


def _chunk(packet: "av.Packet[Any]") -> Chunk:
    assert packet.time_base is not None, "what comes out of a demuxer has a time base"
    ticks = packet.time_base / _TICK
    pts = packet.pts if packet.pts is not None else packet.dts
    # Some demuxers do not know when the first packets are decoded, only when they are shown.
    dts = packet.dts if packet.dts is not None else pts
    assert pts is not None
    assert dts is not None
    return Chunk(
        bytes(packet),
        round(pts * ticks),
        round(dts * ticks),
        round((packet.duration or 0) * ticks),
        packet.is_keyframe,
    )


def joined(count: int) -> Edit:
    """So many packets in one, which has the time of the first and the duration of all."""

    def edit(chunks: list[Chunk]) -> list[Chunk]:
        groups = [chunks[at : at + count] for at in range(0, len(chunks), count)]
        return [
            replace(
                group[0],
                data=b"".join(chunk.data for chunk in group),
                duration=sum(chunk.duration for chunk in group),
            )
            for group in groups
        ]

    return edit
