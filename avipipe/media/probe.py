"""What a media file holds, measured on its packets.

**Source time**, the one clock of a source: seconds since the earliest start of the container's
streams, which is what ffmpeg's `-ss` counts from. A packet whose timestamp on the container's own
clock is `t` lies at `t - MediaInfo.start_s`. Decoding, cutting and all evidence use source time.
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
import numpy.typing as npt
from av.container import InputContainer
from av.sidedata.sidedata import SideData

from avipipe.errors import FailKind, MediaError

logger = logging.getLogger(__name__)

_UNSPECIFIED = "unspecified"
_PRIMARIES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020", 12: "smpte432"}
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
_MATRICES |= {0: "gbr", 10: "bt2020c"}
_RANGES = {1: "tv", 2: "pc"}
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 8: "linear"}
_TRANSFERS |= {13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12"}
_TRANSFERS |= {16: "smpte2084", 18: "arib-std-b67"}
_MAGICS = ((4, b"ftyp"), (0, b"\x1a\x45\xdf\xa3"), (0, b"RIFF"), (4, b"moov"), (4, b"mdat"))
_MAX_PACKETS_TO_FIRST_FRAME = 250
_MAX_SD_LINES = 576
_VFR_TOLERANCE = 0.1
_VFR_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The picture. `width` and `height` are as coded, before rotation and without `sar`.

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

    @property
    def is_hdr(self) -> bool:
        return self.trc in ("smpte2084", "arib-std-b67")

    @property
    def assumed_matrix(self) -> str:
        """The matrix where it is given, else what players assume for this size."""
        if self.matrix != _UNSPECIFIED:
            return self.matrix
        return "bt709" if min(self.width, self.height) > _MAX_SD_LINES else "smpte170m"

    @property
    def shape(self) -> tuple[Fraction, Fraction]:
        """Width and height in square pixels, upright."""
        width, height = self.width * self.sar, Fraction(self.height)
        return (height, width) if self.rotation_deg % 180 else (width, height)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The sound; times are in source time."""

    index: int
    codec: str
    rate_hz: int
    channels: int
    layout: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A file with a picture and a sound.

    Attributes:
        container: ffmpeg's name of the format.
        start_s: where source time 0 lies on the container's own clock.
        duration_s: end of the later of the two streams, in source time.
    """

    container: str
    start_s: float
    duration_s: float
    video: VideoInfo
    audio: AudioInfo

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        data["video"] |= {"sar": str(self.video.sar), "fps": str(self.video.fps)}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MediaInfo":
        video = data["video"]
        exact = {"sar": Fraction(video["sar"]), "fps": Fraction(video["fps"])}
        return cls(
            data["container"],
            data["start_s"],
            data["duration_s"],
            VideoInfo(**{**video, **exact}),
            AudioInfo(**data["audio"]),
        )


def probe(path: Path) -> MediaInfo:
    """Measure a file. Every packet is read, so a header that says something else is not believed.

    Attached pictures, subtitles and data streams are passed over; of several video or audio
    streams, ffmpeg's choice is taken.

    Raises:
        MediaError: NO_SUCH_FILE, EMPTY_FILE, NOT_MEDIA, NO_VIDEO_STREAM, NO_AUDIO_STREAM, or
            CORRUPT where nothing can be decoded.
    """
    with open_media(path) as container:
        video, audio = _streams(container, path)
        start_s = (container.start_time or 0) / av.time_base
        packets = _read_packets(container, video, audio)
        video_times, audio_times = packets[video.index], packets[audio.index]
        for stream, times in ((video, video_times), (audio, audio_times)):
            if len(times.pts) == 0:
                raise _corrupt(path, f"its {stream.type} stream has no packets")
        sound = AudioInfo(
            index=audio.index,
            codec=audio.codec_context.name,
            rate_hz=audio.codec_context.sample_rate,
            channels=audio.codec_context.layout.nb_channels,
            layout=audio.codec_context.layout.name,
            start_s=audio_times.start_s - start_s,
            end_s=audio_times.end_s - start_s,
        )
        container_name = container.format.name
    picture = _video_info(path, video_times, start_s)
    duration_s = max(picture.end_s, sound.end_s)
    return MediaInfo(container_name, start_s, duration_s, picture, sound)


def open_media(path: Path) -> InputContainer:
    """Open a local file with PyAV, and nothing that the file might point to.

    Raises:
        MediaError: NO_SUCH_FILE, EMPTY_FILE, NOT_MEDIA or CORRUPT.
    """
    if not path.is_file():
        raise MediaError(FailKind.NO_SUCH_FILE, f"expected a media file, found none at {path}")
    if path.stat().st_size == 0:
        raise MediaError(FailKind.EMPTY_FILE, f"expected a media file, found 0 bytes in {path}")
    try:
        return av.open(
            f"file:{path.resolve()}",
            metadata_errors="ignore",
            options={"protocol_whitelist": "file"},
        )
    except av.FFmpegError as error:
        with path.open("rb") as file:
            head = file.read(16)
        if any(head[at : at + len(magic)] == magic for at, magic in _MAGICS):
            raise _corrupt(path, f"its index is missing or cut off ({error})") from error
        message = f"expected a media file, found none that ffmpeg knows in {path}: {error}"
        raise MediaError(FailKind.NOT_MEDIA, message) from error


@dataclass(frozen=True, slots=True)
class _Times:
    """Timestamps of a stream's packets, sorted, in ticks of `time_base`."""

    pts: npt.NDArray[np.int64]
    last_duration: int
    time_base: Fraction
    header_start: int | None

    @property
    def start_s(self) -> float:
        # The header knows how many samples of the first packets are the codec's own run-in.
        start = self.pts[0] if self.header_start is None else max(self.pts[0], self.header_start)
        return float(int(start) * self.time_base)

    @property
    def last_s(self) -> float:
        return float(int(self.pts[-1]) * self.time_base)

    @property
    def end_s(self) -> float:
        return float((int(self.pts[-1]) + self.last_duration) * self.time_base)

    @property
    def fps(self) -> Fraction:
        if len(self.pts) < 2 or self.pts[-1] == self.pts[0]:
            return 1 / (max(self.last_duration, 1) * self.time_base)
        return (len(self.pts) - 1) / (int(self.pts[-1] - self.pts[0]) * self.time_base)

    @property
    def is_vfr(self) -> bool:
        gaps = np.diff(self.pts)
        if len(gaps) == 0:
            return False
        off = np.abs(gaps - np.median(gaps))
        tolerance = max(_VFR_TOLERANCE * float(np.median(gaps)), 1.0)
        return float(np.mean(off > tolerance)) > _VFR_SHARE


def _streams(container: InputContainer, path: Path) -> tuple[av.VideoStream, av.AudioStream]:
    attached = av.stream.Disposition.attached_pic
    videos = [s for s in container.streams.video if not s.disposition & attached]
    audios = list(container.streams.audio)
    if not videos and not audios:
        message = f"expected video and audio, found neither in {path} ({container.format.name})"
        raise MediaError(FailKind.NOT_MEDIA, message)
    if not videos:
        message = f"expected a video stream, found only audio in {path}"
        raise MediaError(FailKind.NO_VIDEO_STREAM, message)
    if not audios:
        message = f"expected an audio stream, found only video in {path}"
        raise MediaError(FailKind.NO_AUDIO_STREAM, message)
    video, audio = container.streams.best("video"), container.streams.best("audio")
    video = video if video in videos else videos[0]
    audio = audio if audio in audios else audios[0]
    for stream in (video, audio):
        if stream.codec_context is None:
            raise _corrupt(path, f"its {stream.type} stream is in no codec that is known here")
    return video, audio


def _read_packets(
    container: InputContainer, video: av.VideoStream, audio: av.AudioStream
) -> dict[int, _Times]:
    pts: dict[int, list[int]] = {video.index: [], audio.index: []}
    durations: dict[int, dict[int, int]] = {video.index: {}, audio.index: {}}
    try:
        for packet in container.demux(video, audio):
            time = packet.pts if packet.pts is not None else packet.dts
            if packet.size == 0 or time is None or packet.is_discard:
                continue
            pts[packet.stream_index].append(time)
            durations[packet.stream_index][time] = packet.duration or 0
    except av.FFmpegError as error:
        logger.info("%s: reading ended early: %s", container.name, error)
    return {
        stream.index: _times(stream, pts[stream.index], durations[stream.index])
        for stream in (video, audio)
    }


def _times(
    stream: av.VideoStream | av.AudioStream, pts: list[int], durations: Mapping[int, int]
) -> _Times:
    times = np.sort(np.array(pts, np.int64))
    last_duration = durations[int(times[-1])] if len(times) else 0
    if last_duration == 0 and len(times) > 1:
        last_duration = int(np.median(np.diff(times)))
    assert stream.time_base is not None, "a demuxed stream has a time base"
    return _Times(times, last_duration, stream.time_base, stream.start_time)


def _video_info(path: Path, times: _Times, start_s: float) -> VideoInfo:
    with open_media(path) as container:
        stream, _ = _streams(container, path)
        frame = _first_frame(container, stream, path)
        rotation_deg, mirrored = _orientation(frame)
        codec = stream.codec_context
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
            trc=_TRANSFERS.get(frame.color_trc, _UNSPECIFIED),
            primaries=_PRIMARIES.get(frame.color_primaries, _UNSPECIFIED),
            matrix=_MATRICES.get(frame.colorspace, _UNSPECIFIED),
            range=_RANGES.get(frame.color_range, _UNSPECIFIED),
            interlaced=frame.interlaced_frame,
            start_s=times.start_s - start_s,
            last_s=times.last_s - start_s,
            end_s=times.end_s - start_s,
            num_packets=len(times.pts),
        )


def _first_frame(container: InputContainer, stream: av.VideoStream, path: Path) -> av.VideoFrame:
    last_error: av.FFmpegError | None = None
    for number, packet in enumerate(container.demux(stream)):
        if number == _MAX_PACKETS_TO_FIRST_FRAME:
            break
        try:
            for frame in packet.decode():
                return frame
        except av.FFmpegError as error:
            last_error = error
    raise _corrupt(path, f"none of its first pictures can be decoded ({last_error})")


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


def _corrupt(path: Path, what: str) -> MediaError:
    return MediaError(FailKind.CORRUPT, f"expected a readable file, found {path} damaged: {what}")
