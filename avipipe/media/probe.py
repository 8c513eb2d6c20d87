"""What a media file holds, measured on its packets.

**Source time**, the one clock of a source: seconds since the earliest start of the container's
streams, which is what ffmpeg's `-ss` counts from. A packet whose timestamp on the container's own
clock is `t` lies at `t - MediaInfo.start_s`, or later where the clock was set anew before it
(`avipipe.media.timeline`). Decoding, cutting and all evidence use source time.
"""

import logging
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData

from avipipe.errors import FailKind, MediaError
from avipipe.media.container import (
    DEFAULT_LIMITS,
    MediaLimits,
    MediaStream,
    check_declared,
    choose_streams,
    corrupt,
    open_media,
    too_large,
)
from avipipe.media.timeline import PacketTimes, Restart, Timeline, restarts, stretches

logger = logging.getLogger(__name__)

UNSPECIFIED = "unspecified"
# Numbers of ITU-T H.273 -> the names that ffmpeg has for them.
_PRIMARIES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020", 12: "smpte432"}
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
_MATRICES |= {0: "gbr", 10: "bt2020c"}
_RANGES = {1: "tv", 2: "pc"}
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 8: "linear"}
_TRANSFERS |= {13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12"}
_TRANSFERS |= {16: "smpte2084", 18: "arib-std-b67"}
_MAX_PACKETS_TO_FIRST_FRAME = 250
"""Packets of pictures, ten seconds at 25 fps, until a file that shows none is given up; a
choice."""
_MAX_SD_LINES = 576
"""Short side up to which players take untagged pictures for BT.601: the lines of PAL."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The video stream. `width` and `height` are as coded, before rotation and without `sar`.

    Attributes:
        index: of the stream in its container.
        rotation_deg: clockwise turn that makes the coded picture upright: 0, 90, 180 or 270.
        mirrored: whether it is mirrored left to right, after that turn.
        sar: shape of a coded pixel, width to height.
        fps: average rate.
        is_vfr: whether more than 1 % of the gaps between pictures are off by more than 10 %.
        trc, primaries, matrix, range: colour, in ffmpeg's names.
        start_s, last_s, end_s: when the first and the last picture appear, and when the last one
            goes, in source time.
        restarts: where the clock is set anew.
    """

    index: int
    codec: str
    width: int
    height: int
    rotation_deg: int
    mirrored: bool
    sar: Fraction
    fps: Fraction
    is_vfr: bool
    pix_fmt: str
    trc: str
    primaries: str
    matrix: str
    range: str
    interlaced: bool
    start_s: float
    last_s: float
    end_s: float
    num_packets: int
    restarts: tuple[Restart, ...] = ()

    @property
    def is_hdr(self) -> bool:
        return self.trc in ("smpte2084", "arib-std-b67")

    @property
    def assumed_matrix(self) -> str:
        """Colour matrix where it is given, else what players assume for this size."""
        if self.matrix != UNSPECIFIED:
            return self.matrix
        return "bt709" if min(self.width, self.height) > _MAX_SD_LINES else "smpte170m"

    @property
    def shape(self) -> tuple[Fraction, Fraction]:
        """Width and height in square pixels, upright."""
        width, height = self.width * self.sar, Fraction(self.height)
        return (height, width) if self.rotation_deg % 180 else (width, height)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The audio stream; times are in source time."""

    index: int
    codec: str
    rate_hz: int
    channels: int
    layout: str
    start_s: float
    end_s: float
    restarts: tuple[Restart, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A media file with its video and audio stream.

    Attributes:
        container: ffmpeg's name of the format.
        start_s: where source time 0 lies on the container's own clock.
        duration_s: end of the later of the two streams, in source time.
        stretches: the intervals of source time in which something is shown or heard; between two
            of them the clock jumps, and nothing lies there.
    """

    container: str
    start_s: float
    duration_s: float
    video: VideoInfo
    audio: AudioInfo
    stretches: tuple[tuple[float, float], ...]

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        data["video"] |= {"sar": str(self.video.sar), "fps": str(self.video.fps)}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MediaInfo":
        video, audio = dict(data["video"]), dict(data["audio"])
        video |= {"sar": Fraction(video["sar"]), "fps": Fraction(video["fps"])}
        for stream in (video, audio):
            stream["restarts"] = tuple(Restart(**restart) for restart in stream["restarts"])
        return cls(
            data["container"],
            data["start_s"],
            data["duration_s"],
            VideoInfo(**video),
            AudioInfo(**audio),
            tuple((start_s, end_s) for start_s, end_s in data["stretches"]),
        )


def probe(path: Path, limits: MediaLimits = DEFAULT_LIMITS) -> MediaInfo:
    """Probe a file. Every packet is read, so a header that says something else is not believed.

    Attached pictures, subtitles and data streams are passed over; of several video or audio
    streams, ffmpeg's choice is taken. Packets that an edit list hides do not count.

    Raises:
        MediaError: NO_SUCH_FILE, EMPTY_FILE, NOT_MEDIA, NO_VIDEO_STREAM, NO_AUDIO_STREAM,
            TOO_LARGE, BROKEN_TIMELINE where picture and sound cannot be put on one timeline, or
            CORRUPT where nothing can be decoded.
    """
    with open_media(path) as container:
        video, audio = choose_streams(container, path)
        check_declared(path, video, audio, limits)
        start_s = (container.start_time or 0) / av.time_base
        packets = _read_packets(container, video, audio)
        for stream, times in zip((video, audio), packets, strict=True):
            if not times.shown:
                raise corrupt(path, f"its {stream.type} stream has no packets")
        moved = restarts(*packets)
        if moved is None:
            raise _broken_timeline(path, *packets)
        seen, heard = (Timeline.of(times, by) for times, by in zip(packets, moved, strict=True))
        sound = AudioInfo(
            index=audio.index,
            codec=audio.codec_context.name,
            rate_hz=audio.codec_context.sample_rate,
            channels=audio.codec_context.layout.nb_channels,
            layout=audio.codec_context.layout.name,
            start_s=heard.start_s - start_s,
            end_s=float(heard.sounding()[-1, 1]) - start_s,
            restarts=tuple(moved[1]),
        )
        container_name = container.format.name
    parts = tuple(
        (round(from_s - start_s, 6), round(to_s - start_s, 6))
        for from_s, to_s in stretches(seen.showing(), heard.sounding())
    )
    supported_s = sum(to_s - from_s for from_s, to_s in parts)
    if supported_s > limits.max_duration_s:
        expected, found = f"{limits.max_duration_s:g} s", f"{supported_s:.0f} s"
        raise too_large(path, expected, found, "stages.probe.max_duration_s")
    picture = _video_info(path, seen, start_s, parts, tuple(moved[0]))
    duration_s = max(picture.end_s, sound.end_s)
    return MediaInfo(container_name, start_s, duration_s, picture, sound, parts)


def has_own_slots(container_name: str) -> bool:
    """Whether pictures have no time of their own, only a slot in the order of decoding.

    So it is in AVI; what libavformat says of their times is a guess, and wrong with B-frames.
    """
    return container_name == "avi"


def is_shown(packet: "av.Packet[Any]") -> bool:
    """Whether a packet counts: it holds something, and no edit list hides it."""
    has_time = packet.pts is not None or packet.dts is not None
    return packet.size > 0 and has_time and not packet.is_discard


def _read_packets(
    container: InputContainer, video: av.VideoStream, audio: av.AudioStream
) -> tuple[PacketTimes, PacketTimes]:
    times = {stream.index: _no_packets(stream) for stream in (video, audio)}
    slots = {video.index: has_own_slots(container.format.name), audio.index: False}
    try:
        for packet in container.demux(video, audio):
            if packet.size == 0 or packet.is_discard:
                continue
            stream = times[packet.stream_index]
            if is_shown(packet):
                stream.add(packet, by_slot=slots[packet.stream_index])
            else:
                stream.num_untimed += not stream.is_clocked
    except av.FFmpegError as error:
        logger.info("%s: reading ended early: %s", container.name, error)
    return times[video.index], times[audio.index]


def _no_packets(stream: MediaStream) -> PacketTimes:
    assert stream.time_base is not None, "a demuxed stream has a time base"
    return PacketTimes(stream.time_base, stream.start_time)


def _broken_timeline(path: Path, video: PacketTimes, audio: PacketTimes) -> MediaError:
    def when(times: PacketTimes) -> str:
        at = [f"{float(times.shown[n] * times.time_base):.1f}" for n in times.restarts()]
        return f"{len(at)} times" + (f" (to {', '.join(at[:5])} s)" if at else "")

    message = (
        f"expected one clock in {path}, found one that is set anew {when(video)} in the picture "
        f"and {when(audio)} in the sound, so nobody can say what belongs together; nothing of it "
        "is used. Cut it into files without such jumps, for example with a tool that made it"
    )
    return MediaError(FailKind.BROKEN_TIMELINE, message)


def _video_info(
    path: Path,
    times: Timeline,
    start_s: float,
    parts: tuple[tuple[float, float], ...],
    moved: tuple[Restart, ...],
) -> VideoInfo:
    last_s = times.last_s - start_s
    claimed_s = last_s + float((int(times.durations[-1]) or times.usual_gap) * times.time_base)
    # A last picture that claims hours lasts as long as there is sound with it.
    borne_s = max((to_s for from_s, to_s in parts if from_s <= last_s + 1e-5), default=claimed_s)
    with open_media(path) as container:
        stream, _ = choose_streams(container, path)
        frame, delay = _first_frame(container, stream, path)
        rotation_deg, mirrored = _orientation(frame)
        codec = stream.codec_context
        shift_s = 0.0
        if has_own_slots(container.format.name):
            shift_s = float(slot_shift(delay) * times.time_base)
        return VideoInfo(
            index=stream.index,
            codec=codec.name,
            width=frame.width,
            height=frame.height,
            rotation_deg=rotation_deg,
            mirrored=mirrored,
            sar=Fraction(stream.sample_aspect_ratio or 1),
            fps=_named_rate(stream, times.fps),
            is_vfr=times.is_vfr,
            pix_fmt=frame.format.name,
            trc=_TRANSFERS.get(frame.color_trc, UNSPECIFIED),
            primaries=_PRIMARIES.get(frame.color_primaries, UNSPECIFIED),
            matrix=matrix_of(frame),
            range=_RANGES.get(frame.color_range, UNSPECIFIED),
            interlaced=frame.interlaced_frame,
            start_s=times.start_s - start_s + shift_s,
            last_s=last_s + shift_s,
            end_s=min(claimed_s, borne_s) + shift_s,
            num_packets=len(times.pts),
            restarts=moved,
        )


def matrix_of(frame: av.VideoFrame) -> str:
    """The colour matrix that a picture is tagged with, in ffmpeg's names, or `unspecified`."""
    return _MATRICES.get(frame.colorspace, UNSPECIFIED)


def slot_shift(delay: int) -> int:
    """How many slots after its own a picture of an AVI is shown, if its decoder keeps `delay` back.

    Writers differ in whether the first picture belongs to the first slot (a packed bitstream, Video
    for Windows) or to the one in which it comes out (ffmpeg): between them one is at most one off.
    """
    return delay // 2


def _first_frame(
    container: InputContainer, stream: av.VideoStream, path: Path
) -> tuple[av.VideoFrame, int]:
    """The first picture, and how many packets after its own the decoder gives it."""
    last_error: av.FFmpegError | None = None
    num_shown = 0
    for packet in container.demux(stream):
        num_shown += is_shown(packet)
        if num_shown > _MAX_PACKETS_TO_FIRST_FRAME:
            break
        try:
            for frame in packet.decode():
                return frame, max(num_shown - 1, 0)
        except av.FFmpegError as error:
            last_error = error
    raise corrupt(path, f"none of its first pictures can be decoded ({last_error})")


def _named_rate(stream: av.VideoStream, measured: Fraction) -> Fraction:
    """The header's rate, which knows 30000/1001 exactly, where the packets bear it out."""
    named = stream.average_rate
    if named is not None and abs(named - measured) <= measured / 100:
        return Fraction(named)
    return measured.limit_denominator(1001)


def _orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """The clockwise turn, and whether a mirroring follows, of the frame's display matrix."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, SideData):
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", memoryview(data))
    mirrored = a * d - b * c < 0
    angle_deg = np.degrees(np.arctan2(b, -a if mirrored else a))
    return int(np.round(angle_deg / 90)) * 90 % 360, mirrored
