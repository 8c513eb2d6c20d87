"""A video as it is edited: the whole of it, with silence where it has no sound."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg

from avipipe.errors import FailKind, MediaError
from avipipe.files import written_whole
from avipipe.media.container import INPUT_OPTIONS, open_media
from avipipe.media.decode import num_ticks
from avipipe.media.ffmpeg import file_url, run
from avipipe.media.normalize import FPS, SAMPLE_RATE_HZ
from avipipe.media.probe import MediaInfo, probe

_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Dubbed:
    """A video that can be heard.

    Attributes:
        path: the file to read.
        info: what was measured of it.
        has_sound: whether the sound is its own.
    """

    path: Path
    info: MediaInfo
    has_sound: bool

    @property
    def num_frames(self) -> int:
        """At 24 fps, from the first picture to the end of the last."""
        video = self.info.video
        return num_ticks(video.end_s - video.start_s, Fraction(FPS))

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height of the upright picture in square pixels."""
        width, height = self.info.video.shape
        return round(width), round(height)


def dubbed(path: Path, folder: Path) -> Dubbed:
    """Measure a video; where there is no sound, a copy with silence is made in `folder`.

    Raises:
        MediaError: it cannot be read, or has no frame; `kind` says why.
    """
    found = _with_sound(path, folder)
    if found.num_frames < 1:
        raise MediaError(FailKind.CORRUPT, f"expected at least one frame in {path}, found none")
    return found


def _with_sound(path: Path, folder: Path) -> Dubbed:
    try:
        return Dubbed(path, probe(path), has_sound=True)
    except MediaError as error:
        if error.kind is not FailKind.NO_AUDIO_STREAM:
            raise
    with open_media(path) as container:
        is_mov = "mov" in container.format.name
    silent = folder / ("silent.mov" if is_mov else "silent.mkv")
    if not silent.exists():
        _add_silence(path, silent)
    return Dubbed(silent, probe(silent), has_sound=False)


def _add_silence(path: Path, out: Path) -> None:
    silence = ffmpeg.input(f"anullsrc=r={SAMPLE_RATE_HZ}:cl=stereo", f="lavfi")
    # AVI has no times of its own, and Matroska wants some.
    picture = ffmpeg.input(file_url(path), fflags="+genpts", **INPUT_OPTIONS)
    with written_whole(out) as draft:
        copied = ffmpeg.output(
            picture.video,
            silence.audio,
            f"file:{draft}",
            format="mov" if out.suffix == ".mov" else "matroska",
            shortest=None,
            **{"c:v": "copy", "c:a": "pcm_s16le"},
        )
        run(list(copied.compile()[1:]), timeout_s=_TIMEOUT_S)
