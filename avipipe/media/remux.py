"""Copies streams into one Matroska file without encoding them; their timestamps stay.

Sound and picture that came apart have one timeline: what the tool that joins them makes of it is
compared, packet by packet, with what the parts say.
"""

import heapq
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer

from avipipe.errors import FailKind, MediaError
from avipipe.media.container import MediaStream, open_media

_TICK = Fraction(1, 1000)
"""Matroska counts milliseconds; each timestamp is rounded to one."""
# Two roundings, that of a packet and that of the one it is compared with.
_MAX_STRAY = 2 * _TICK
# Where one stream ends early, the other is not waited for any longer.
_MAX_INTERLEAVE_S = 10
WITHOUT_CLOCK = frozenset({"aac", "ac3", "eac3", "mp3"})
"""Formats without a clock: bare sound, whose first sample is at 0 wherever it belongs."""
_HLS_CLOCK = "id3v2_priv.com.apple.streaming.transportStreamTimestamp"
_HLS_CLOCK_HZ = 90_000
"""Of the clock of MPEG-2 transport streams."""


@dataclass(frozen=True, slots=True)
class CopiedStream:
    """A stream to copy.

    Attributes:
        offset: what is added to its timestamps, in seconds, to bring it to the clock of the others.
    """

    stream: MediaStream
    offset: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class RemuxInput:
    """An open container and the streams of it that are copied, in the order of the output.

    Attributes:
        seek: read from the key frame before this time, in seconds on the container's clock; None
            reads from where it stands.
    """

    container: InputContainer
    tracks: tuple[CopiedStream, ...]
    seek: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Copied:
    """Result of a copy: what was written, and when its packets lie.

    Attributes:
        shift_s: how much later each packet stands in the file than it did, on all streams.
        times: of each stream, when its packets are to be shown, in order of decoding, in seconds
            on the clock that they came with.
    """

    shift_s: float
    times: Sequence[Sequence[Fraction]]


def merge(video: Path, audio: Path, target: Path, *, one_clock: bool) -> float:
    """Join the picture of one file with the sound of another.

    Args:
        one_clock: whether their timestamps are of one timeline, as in the renditions of a
            manifest; if not, both begin together.
    Returns:
        where the earliest moment of the two lies on the clock of `target`, in seconds.
    Raises:
        MediaError: a part is no media; CORRUPT where its timestamps cannot be written; OUT_OF_SYNC
            where the streams in `target` are not as far apart as they were.
    """
    with open_media(video) as pictures, open_media(audio) as sounds:
        picture, sound = _best(pictures, "video", video), _best(sounds, "audio", audio)
        begins = _start(picture)
        offset = _clock_offset(sounds, sound, begins) if one_clock else begins - _start(sound)
        sources = (
            RemuxInput(pictures, (CopiedStream(picture),)),
            RemuxInput(sounds, (CopiedStream(sound, offset),)),
        )
        copied = copy(sources, target)
        return float(min(begins, _start(sound) + offset)) + copied.shift_s


def best_streams(container: InputContainer) -> tuple[MediaStream, ...]:
    """Choose the video and audio stream that a reader would, as far as there are any."""
    found = (container.streams.best("video"), container.streams.best("audio"))
    return tuple(stream for stream in found if isinstance(stream, MediaStream))


def copy(sources: Sequence[RemuxInput], target: Path, *, end: Fraction | None = None) -> Copied:
    """Copy streams into a file, until `end` on their clock, and prove where they stand in it.

    Raises:
        MediaError: CORRUPT, OUT_OF_SYNC; see `merge`.
    """
    copies: dict[int, tuple[Any, list[Fraction]]] = {}
    # Else Matroska is given a number drawn by lot, and the same parts never the same bytes.
    options = {"fflags": "+bitexact"}
    try:
        with av.open(str(target), "w", format="matroska", options=options) as written:
            for track in (track for source in sources for track in source.tracks):
                copies[id(track)] = written.add_stream_from_template(track.stream), []
            readers = [_packets(source, end) for source in sources]
            for time, track, packet in heapq.merge(*readers, key=lambda read: read[0]):
                if packet.pts is None:
                    raise _corrupt(target, f"a packet at {float(time):.3f} s says not when it is")
                output, times = copies[id(track)]
                times.append(_seconds(packet.pts, packet) + track.offset)
                _move(packet, track.offset)
                packet.stream = output
                written.mux(packet)
    except av.FFmpegError as error:
        raise _corrupt(target, f"its timestamps cannot be written ({error})") from error
    shown = [times for _, times in copies.values()]
    if not all(shown):
        raise _corrupt(target, "a stream has no packets")
    return Copied(certified_shift(target, shown), shown)


def _packets(
    source: RemuxInput, end: Fraction | None
) -> Iterator[tuple[Fraction, CopiedStream, "av.Packet[Any]"]]:
    """Packets in order of decoding, each with its time there; pictures from a key frame on."""
    tracks = {track.stream.index: track for track in source.tracks}
    if source.seek is not None:
        first = source.tracks[0].stream
        source.container.seek(math.floor(source.seek / _time_base(first)), stream=first)
    begun, ended = set(), set()
    time = Fraction(0)
    for packet in source.container.demux(*(track.stream for track in source.tracks)):
        index = packet.stream_index
        if packet.size == 0 or (index not in begun and not packet.is_keyframe):
            continue
        begun.add(index)
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is not None:  # else it follows the one before
            time = _seconds(stamp, packet) + tracks[index].offset
        if end is not None and time > end:
            ended.add(index)
            if ended == tracks.keys() or time > end + _MAX_INTERLEAVE_S:
                return
            continue
        yield time, tracks[index], packet


def certified_shift(target: Path, expected: Sequence[Sequence[Fraction]]) -> float:
    """Shift by which all packets of a file are later than expected: one number, or none.

    Raises:
        MediaError: OUT_OF_SYNC.
    """
    found: list[list[Fraction]] = [[] for _ in expected]
    with open_media(target) as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                found[packet.stream_index].append(_seconds(packet.pts, packet))
    counts = [len(times) for times in expected], [len(times) for times in found]
    if counts[0] != counts[1]:
        raise MediaError(
            FailKind.OUT_OF_SYNC,
            f"expected {counts[0]} packets of each stream in {target.name}, found {counts[1]}",
        )
    shifts = [
        after - before
        for befores, afters in zip(expected, found, strict=True)
        for before, after in zip(befores, afters, strict=True)
    ]
    least, most = min(shifts), max(shifts)
    if most - least > _MAX_STRAY:
        raise MediaError(
            FailKind.OUT_OF_SYNC,
            f"expected all packets in {target.name} as far apart as in its parts, found some "
            f"{float(most - least) * 1000:.1f} ms off",
        )
    return float(round((least + most) / 2 / _TICK) * _TICK)


def _clock_offset(container: InputContainer, sound: MediaStream, begins: Fraction) -> Fraction:
    """What brings a sound to the clock of the picture, which `begins` then.

    Only bare sound needs it. In HLS its first tag says when it begins (RFC 8216, section 3.4);
    else both begin together.
    """
    if container.format.name not in WITHOUT_CLOCK:
        return Fraction(0)
    text = container.metadata.get(_HLS_CLOCK)
    if text is None:
        return begins - _start(sound)
    octets = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
    ticks = int.from_bytes(octets.encode("latin-1", "replace")[-8:], "big")
    return Fraction(ticks, _HLS_CLOCK_HZ) - _start(sound)


def _best(container: InputContainer, kind: Literal["video", "audio"], path: Path) -> MediaStream:
    stream = container.streams.best(kind)
    if not isinstance(stream, MediaStream):
        missing = FailKind.NO_VIDEO_STREAM if kind == "video" else FailKind.NO_AUDIO_STREAM
        raise MediaError(missing, f"expected a stream of {kind} in {path.name}, found none")
    return stream


def _start(stream: MediaStream) -> Fraction:
    """When a stream begins, on its container's clock, without what its decoder throws away."""
    return (stream.start_time or 0) * _time_base(stream)


def _move(packet: "av.Packet[Any]", offset: Fraction) -> None:
    assert packet.time_base is not None, "what comes out of a demuxer has a time base"
    assert packet.pts is not None, "packets without a time are refused"
    ticks = round(offset / packet.time_base)
    packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


def _seconds(stamp: int, packet: "av.Packet[Any]") -> Fraction:
    assert packet.time_base is not None, "what comes out of a demuxer has a time base"
    return stamp * packet.time_base


def _time_base(stream: MediaStream) -> Fraction:
    assert stream.time_base is not None, "what comes out of a demuxer has a time base"
    return Fraction(stream.time_base)


def _corrupt(target: Path, what: str) -> MediaError:
    return MediaError(
        FailKind.CORRUPT, f"expected streams that can be copied into {target.name}, found: {what}"
    )
