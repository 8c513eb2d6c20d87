"""Opening a local file with PyAV, and nothing that the file might point to."""

from dataclasses import dataclass
from pathlib import Path
from typing import IO

import av
from av.container import InputContainer

from avipipe.errors import FailKind, MediaError

MediaStream = av.VideoStream | av.AudioStream

# What holds media itself. Playlists, scripts, picture sequences and devices (concat, hls, dash,
# image2, lavfi, sdp …) would open what they name, so they are not among them.
_FORMATS = (
    *("mov", "matroska", "avi", "flv", "live_flv", "mpegts", "mpeg", "mpegvideo", "asf", "ogg"),
    *("mxf", "nut", "rm", "dv", "gxf", "wtv", "ivf", "nsv", "h264", "hevc", "m4v", "gif", "apng"),
    *("wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "ac3", "eac3", "amr", "amrnb"),
    *("amrwb", "ape", "tta", "wv", "tak", "dsf", "voc", "yuv4mpegpipe", "smk", "bink", "vivo"),
    *("png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"),
)
INPUT_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(_FORMATS)}
"""Input options of PyAV and ffmpeg for whatever a user, a page or another dataset has made."""

_MAGICS = ((4, b"ftyp"), (0, b"\x1a\x45\xdf\xa3"), (0, b"RIFF"), (4, b"moov"), (4, b"mdat"))
"""Where in a file which bytes stand that tell MP4, Matroska and AVI."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Limits on what a file may declare, checked before anything of it is decoded.

    Attributes:
        max_pixels: of a coded picture. One takes 1.5 to 8 bytes a pixel, several are held.
        max_audio_channels: of a stream; a frame takes 4 bytes a channel and sample.
        max_duration_s: of all that pictures and sound support.
    """

    max_pixels: int = 8192 * 8192
    max_audio_channels: int = 64
    max_duration_s: float = 12 * 3600.0


DEFAULT_LIMITS = MediaLimits()


def open_media(path: Path) -> InputContainer:
    """Open a local file with PyAV.

    Raises:
        MediaError: NO_SUCH_FILE, EMPTY_FILE, NOT_MEDIA or CORRUPT.
    """
    if not path.is_file():
        raise MediaError(FailKind.NO_SUCH_FILE, f"expected a media file, found none at {path}")
    if path.stat().st_size == 0:
        raise MediaError(FailKind.EMPTY_FILE, f"expected a media file, found 0 bytes in {path}")
    try:
        return av.open(f"file:{path.resolve()}", metadata_errors="ignore", options=INPUT_OPTIONS)
    except av.FFmpegError as error:
        with path.open("rb") as file:
            head = file.read(16)
        if any(head[at : at + len(magic)] == magic for at, magic in _MAGICS):
            raise corrupt(path, f"its index is missing or cut off ({error})") from error
        message = (
            f"expected a media file, found in {path} none that is known here and holds its media "
            f"itself (playlists are not followed): {error}"
        )
        raise MediaError(FailKind.NOT_MEDIA, message) from error


def open_bytes(file: IO[bytes]) -> InputContainer:
    """Open media in memory with PyAV: a member of a shard, an answer.

    Raises:
        av.FFmpegError: it cannot be read.
    """
    return av.open(file, mode="r", metadata_errors="ignore", options=INPUT_OPTIONS)


def choose_streams(container: InputContainer, path: Path) -> tuple[av.VideoStream, av.AudioStream]:
    """Choose the video and audio stream of a file: ffmpeg's choice; never a cover picture.

    Raises:
        MediaError: NOT_MEDIA, NO_VIDEO_STREAM, NO_AUDIO_STREAM, or CORRUPT for an unknown codec.
    """
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
            raise corrupt(path, f"its {stream.type} stream is in no codec that is known here")
    return video, audio


def check_declared(
    path: Path, video: av.VideoStream, audio: av.AudioStream, limits: MediaLimits
) -> None:
    """Refuse what the headers alone say is too large.

    Raises:
        MediaError: TOO_LARGE.
    """
    width, height = video.codec_context.width, video.codec_context.height
    if width * height > limits.max_pixels:
        found = f"{width}x{height} pixels"
        raise too_large(path, f"{limits.max_pixels} pixels", found, "stages.probe.max_pixels")
    channels = audio.codec_context.layout.nb_channels
    if channels > limits.max_audio_channels:
        expected = f"{limits.max_audio_channels} channels of sound"
        raise too_large(path, expected, str(channels), "stages.probe.max_audio_channels")


def too_large(path: Path, most: str, found: str, setting: str) -> MediaError:
    """The error for a file that is beyond a limit."""
    message = f"expected at most {most} in {path}, found {found}; to allow it, raise {setting}"
    return MediaError(FailKind.TOO_LARGE, message)


def corrupt(path: Path, what: str) -> MediaError:
    """The error for a damaged file."""
    return MediaError(FailKind.CORRUPT, f"expected a readable file, found {path} damaged: {what}")
