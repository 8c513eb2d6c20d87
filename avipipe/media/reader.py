"""The one way from a file to its pictures and its sound: decoded frames on source time.

Whatever looks at a source, hears it or cuts it reads through here, so all of them see the same
pictures and the same samples. Reading begins at a point that is known to be safe: in a container
with an index at the key frame that the index gives, elsewhere in file order, where packets before
the last but one key frame are read but not decoded. Where even that does not begin with a whole
picture, and in AVI, whose pictures are known by their number alone, it begins with the file.
"""

import logging
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from avipipe.errors import FailKind, MediaError
from avipipe.media.container import DEFAULT_LIMITS, MediaStream, open_media
from avipipe.media.probe import AudioInfo, MediaInfo, VideoInfo, has_own_slots, is_shown, slot_shift
from avipipe.media.timeline import exact, ticks

_Frame = av.VideoFrame | av.AudioFrame

logger = logging.getLogger(__name__)

# Their index says by time where a key frame is, and keeps what edit lists hide.
_INDEXED = frozenset({"mov", "matroska"})
# Tried in turn: with reordered pictures, a seek may land on a key frame that is shown too late.
_SEEK_LEADS_S = (0.0, 2.0, 10.0)
# A reference begins this many key frames before the one that would do.
_REFERENCE_KEYS = 2
# The run-in of a decoder of sound; MP3 reaches back 0.3 s, all others less.
_AUDIO_LEAD_S = 0.5
# How far packets may be out of order: no codec reorders over more than 16 pictures.
_REORDER_S = 2.0
_MAX_LOST_PACKETS = 48
"""By how many more packets may be lost than good before a file is given up: two seconds at 24 fps.
A choice."""
_MAX_LOST_S = 1.0
"""By how much packets may end before half of what is asked for until the file is damaged; a
choice."""


@dataclass(frozen=True, slots=True)
class _Begin:
    """Where decoding begins: with the file, `skip` packets later, or where a seek lands.

    Attributes:
        skip: packets of the stream that are read and not decoded.
        seek: on the container's own clock; None for no seek.
        keys_early: key frames to go further back after that.
    """

    skip: int = 0
    seek: Fraction | None = None
    keys_early: int = 0

    @property
    def is_whole(self) -> bool:
        return self.skip == 0 and self.seek is None


_WITH_THE_FILE = _Begin()


def pictures(
    path: Path, info: MediaInfo, *, from_s: float, reference: bool = False
) -> Generator[tuple[Fraction, av.VideoFrame], None, None]:
    """Yield pictures in the order in which they are shown, from the one on screen at `from_s`.

    Args:
        reference: begin earlier than needed, or with the file where its container has no index,
            so that other ways of reading can be checked against this one.
    Yields:
        when each appears, in source time, strictly increasing; and the picture as it is coded.
    Raises:
        MediaError: CORRUPT where the pictures end long before they should, or most are damaged.
    """
    reached = Fraction(0)
    for time, frame in _decoded(path, info, info.video, from_s, reference):
        assert isinstance(frame, av.VideoFrame)
        reached = time
        yield time, frame
    _check_reach(path, float(reached), from_s, info.video)


def sound(
    path: Path, info: MediaInfo, *, from_s: float, reference: bool = False
) -> Generator[tuple[Fraction, av.AudioFrame], None, None]:
    """Yield frames of sound as they come, beginning with a run-in before `from_s`.

    Yields:
        when the first sample of each is heard, in source time; and the frame. A frame whose time
        nobody states follows the one before it.
    Raises:
        MediaError: CORRUPT where most of it is damaged.
    """
    if from_s >= info.audio.end_s:
        return
    for time, frame in _decoded(path, info, info.audio, from_s - _AUDIO_LEAD_S, reference):
        assert isinstance(frame, av.AudioFrame)
        yield time, frame


def _decoded(
    path: Path, info: MediaInfo, stream: VideoInfo | AudioInfo, from_s: float, reference: bool
) -> Generator[tuple[Fraction, _Frame], None, None]:
    """Frames from the first beginning that proves safe."""
    for begin in _begins(path, info, stream, from_s, reference):
        with (
            open_media(path) as container,
            closing(_frames(container, info, stream, begin)) as frames,
        ):
            first = next(frames, None)
            if begin.is_whole or (first is not None and _is_safe(*first, from_s)):
                if first is not None:
                    yield first
                    yield from frames
                return


def _is_safe(time: Fraction, frame: _Frame, from_s: float) -> bool:
    """Whether decoding has begun early enough, and with a picture that needs no other."""
    is_whole = frame.key_frame if isinstance(frame, av.VideoFrame) else True
    return is_whole and time <= exact(from_s)


def _begins(
    path: Path, info: MediaInfo, stream: VideoInfo | AudioInfo, from_s: float, reference: bool
) -> Iterator[_Begin]:
    is_indexed = not _INDEXED.isdisjoint(info.container.split(",")) and not stream.restarts
    if from_s > stream.start_s and is_indexed:
        keys_early = _REFERENCE_KEYS if reference else 0
        for lead_s in _SEEK_LEADS_S:
            if from_s - lead_s > stream.start_s:
                seek = exact(from_s - lead_s) + exact(info.start_s)
                yield _Begin(seek=seek, keys_early=keys_early)
    elif from_s > stream.start_s and not reference:
        is_numbered = isinstance(stream, VideoInfo) and has_own_slots(info.container)
        skip = 0 if is_numbered else _num_needless(path, info, stream, from_s)
        if skip > 0:
            yield _Begin(skip=skip)
    yield _WITH_THE_FILE


def _num_needless(path: Path, info: MediaInfo, stream: VideoInfo | AudioInfo, from_s: float) -> int:
    """How many packets of a stream need not be decoded for what comes from `from_s` on."""
    keys = [0]
    until = exact(from_s) + exact(info.start_s)
    with open_media(path) as container:
        own = container.streams[stream.index]
        assert isinstance(own, MediaStream)
        time_base = _time_base(own)
        try:
            for ordinal, packet in enumerate(_shifted(container, own, stream)):
                time = packet.pts if packet.pts is not None else packet.dts
                if time is None or time * time_base > until + Fraction(_REORDER_S):
                    break
                if packet.is_keyframe and time * time_base <= until:
                    keys.append(ordinal)
        except av.FFmpegError as error:
            logger.info("%s: reading ended early: %s", container.name, error)
    return keys[-2] if len(keys) > 1 else 0


def _shifted(
    container: InputContainer, own: MediaStream, stream: VideoInfo | AudioInfo
) -> Iterator["av.Packet[Any]"]:
    """The packets that count, in file order, on one timeline."""
    waiting = list(stream.restarts)
    shift = 0
    ordinal = 0
    for packet in container.demux(own):
        if packet.size == 0 and (packet.pts is not None or packet.dts is not None):
            continue  # an empty slot: the picture before it stays
        if is_shown(packet):
            if waiting and ordinal >= waiting[0].ordinal:
                shift = ticks(waiting.pop(0).shift_s, _time_base(own))
            ordinal += 1
        if shift and packet.pts is not None:
            packet.pts += shift
        if shift and packet.dts is not None:
            packet.dts += shift
        yield packet


def _frames(
    container: InputContainer, info: MediaInfo, stream: VideoInfo | AudioInfo, begin: _Begin
) -> Generator[tuple[Fraction, _Frame], None, None]:
    """Decode one stream from a beginning on, each frame with its source time.

    Raises:
        MediaError: CORRUPT where most of what the decoder says is that it cannot.
    """
    decoded = _decoded_packets(container, stream, begin)
    if isinstance(stream, AudioInfo):
        placed = _sound_placed(decoded)
    elif has_own_slots(info.container):
        placed = _slots_placed(decoded)
    else:
        placed = _pictures_placed(decoded, 1 / stream.fps)
    origin = exact(info.start_s)
    for time, frame in placed:
        yield time - origin, frame


def _decoded_packets(
    container: InputContainer, stream: VideoInfo | AudioInfo, begin: _Begin
) -> Iterator[tuple["av.Packet[Any]", Sequence[_Frame]]]:
    """Each packet that is decoded, with what comes out when it goes in."""
    own = container.streams[stream.index]
    assert isinstance(own, MediaStream)
    own.codec_context.thread_count = 1
    if isinstance(stream, VideoInfo):
        largest = max(DEFAULT_LIMITS.max_pixels, stream.width * stream.height)
        own.codec_context.options = {"max_pixels": str(largest)}
    num_lost = num_good = 0
    ordinal = 0
    try:
        _seek(container, own, begin)
        has_begun = begin.seek is None
        for packet in _shifted(container, own, stream):
            has_begun = has_begun or packet.is_keyframe
            is_needless = not has_begun or ordinal < begin.skip
            ordinal += is_shown(packet)
            if is_needless:
                continue
            frames, is_lost = _decode_packet(packet)
            num_lost += is_lost + sum(frame.is_corrupt for frame in frames)
            num_good += sum(not frame.is_corrupt for frame in frames)
            yield packet, frames
            if num_lost > num_good + _MAX_LOST_PACKETS:
                message = f"expected pictures and sound, found most packets of {container.name} "
                raise MediaError(FailKind.CORRUPT, message + "undecodable")
    except av.FFmpegError as error:
        logger.info("%s: reading ended early: %s", container.name, error)


def _seek(container: InputContainer, own: MediaStream, begin: _Begin) -> None:
    if begin.seek is None:
        return
    to = math.floor(begin.seek / _time_base(own))
    container.seek(to, stream=own)
    for _ in range(begin.keys_early):
        landed = next((packet.pts for packet in container.demux(own) if packet.is_keyframe), None)
        if landed is not None:
            to = min(landed, to) - 1
        container.seek(to, stream=own)


def _decode_packet(packet: "av.Packet[Any]") -> tuple[Sequence[_Frame], bool]:
    """Its frames, and whether the decoder says that it is damaged."""
    try:
        return packet.decode(), False
    except av.FFmpegError as error:
        logger.debug("packet at %s: %s", packet.pts, error)
        return [], True


def _pictures_placed(
    decoded: Iterable[tuple["av.Packet[Any]", Sequence[_Frame]]], gap: Fraction
) -> Iterator[tuple[Fraction, _Frame]]:
    """Pictures are shown when they say; where they do not, one usual gap from their neighbour."""
    untimed: list[_Frame] = []  # before the first that says when, such as those before time 0
    last: Fraction | None = None
    for frame in (frame for _, frames in decoded for frame in frames):
        stated = frame.pts if frame.pts is not None or last is not None else frame.dts
        if stated is not None:
            time = stated * _time_base(frame)
        elif last is not None:
            time = last + gap
        else:
            untimed.append(frame)
            continue
        for num_before, early in zip(range(len(untimed), 0, -1), untimed, strict=True):
            yield time - num_before * gap, early
        untimed.clear()
        if last is None or time > last:
            last = time
            yield time, frame


def _slots_placed(
    decoded: Iterable[tuple["av.Packet[Any]", Sequence[_Frame]]],
) -> Iterator[tuple[Fraction, _Frame]]:
    """Pictures are shown in the slots of an AVI: one comes out for each packet that goes in.

    A decoder that reorders keeps `delay` pictures back; see `avipipe.media.probe.slot_shift`.
    """
    delay: int | None = None
    last: Fraction | None = None
    for num_before, (packet, frames) in enumerate(decoded):
        for frame in frames:
            delay = num_before if delay is None else delay
            tick = _time_base(frame)
            # Those that a decoder still holds at the end come out without a packet.
            slot = None if packet.dts is None else packet.dts - delay + slot_shift(delay)
            time = slot * tick if slot is not None else Fraction(0)
            if last is not None and time <= last:
                time = last + tick
            last = time
            yield time, frame


def _sound_placed(
    decoded: Iterable[tuple["av.Packet[Any]", Sequence[_Frame]]],
) -> Iterator[tuple[Fraction, _Frame]]:
    """Sound is heard when it says; where it does not, right after what came before."""
    end: Fraction | None = None
    for frame in (frame for _, frames in decoded for frame in frames):
        assert isinstance(frame, av.AudioFrame)
        stated = frame.pts if frame.pts is not None or end is not None else frame.dts
        if stated is None and end is None:
            continue
        time = end if stated is None else stated * _time_base(frame)
        assert time is not None
        end = time + Fraction(frame.samples, frame.sample_rate)
        yield time, frame


def _check_reach(path: Path, reached_s: float, from_s: float, video: VideoInfo) -> None:
    """A stretch that gives no packets at all, as in an overwritten file, ends like a short file."""
    if reached_s < (from_s + video.last_s) / 2 - _MAX_LOST_S:
        raise MediaError(
            FailKind.CORRUPT,
            f"expected pictures until {video.last_s:.3f} s of {path}, found none after "
            f"{reached_s:.3f} s: the file is damaged",
        )


def _time_base(thing: _Frame | MediaStream) -> Fraction:
    assert thing.time_base is not None, "what comes out of a demuxer has a time base"
    return thing.time_base
