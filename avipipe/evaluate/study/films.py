"""The films of a study: all encoded alike, so that none is judged for how it was encoded."""

import base64
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import ffmpeg

from avipipe.errors import ConfigError, FailKind, MediaError
from avipipe.evaluate.metrics.undefined import Undefined, require_sound
from avipipe.evaluate.study.plan import StudyFilm
from avipipe.media.decode import read_audio
from avipipe.media.ffmpeg import run
from avipipe.media.normalize import FPS, NormalizeConfig
from avipipe.media.probe import probe
from avipipe.pages.film import Film, first_seconds

_FILM_S = 10.0
"""How much of a film is shown: all of most clips, and what one can hold in mind beside another."""
_WAYS = tuple(
    NormalizeConfig(
        short_side_px=side_px, max_long_side_px=side_px * 8 // 3, crf=crf, audio_kbps=kbps
    )
    for side_px, crf, kbps in ((480, 22, 128), (360, 25, 128), (360, 31, 96), (240, 34, 64))
)
"""The first way by which all fit is taken for all; two films stand side by side, so 480 pixels are
what a screen has for each."""
_HEARD_AT_HZ = 16_000
"""Enough to tell silence from any sound."""
_MUX_TIMEOUT_S = 60.0
_NO_LIMIT_BYTES = 2**40
"""Of one film: what counts is the sum of all."""


def is_heard(path: Path) -> bool:
    """Whether there is anything to be heard in the part of a file that is shown."""
    try:
        info = probe(path)
        end_s = min(info.video.end_s, info.video.start_s + _FILM_S)
        wav_CN = read_audio(
            path,
            info,
            start_s=info.video.start_s,
            end_s=end_s,
            sample_rate_hz=_HEARD_AT_HZ,
            mono=True,
        )
        require_sound(wav_CN)
    except Undefined:
        return False
    except MediaError as error:
        if error.kind is FailKind.NO_AUDIO_STREAM:
            return False
        raise
    return True


def study_films(
    wanted: Sequence[StudyFilm], max_bytes: int, filmed: Callable[[int, int], None]
) -> list[Film]:
    """Encode films, all in the same way: the finest by which they fit.

    Args:
        max_bytes: of all of them on the page.
        filmed: told of each film how many are ready, of how many.
    Raises:
        ConfigError: they do not fit.
        MediaError: one cannot be decoded.
    """
    for way in _WAYS:
        made = _encoded(wanted, way, max_bytes, filmed)
        if made is not None:
            return made
    raise ConfigError(
        f"{len(wanted)} films do not fit into {max(max_bytes, 0) / 1e6:.1f} MB even at the lowest "
        "quality: ask for fewer comparisons (--count) or a larger page (--max-mb)"
    )


def _encoded(
    wanted: Sequence[StudyFilm],
    way: NormalizeConfig,
    max_bytes: int,
    filmed: Callable[[int, int], None],
) -> list[Film] | None:
    """All films, or None as soon as they are too large."""
    by_path: dict[Path, Film] = {}
    made: list[Film] = []
    used_bytes = 0
    for shown in wanted:
        for path in filter(None, (shown.video, shown.sound_of)):
            if path not in by_path:
                by_path[path] = first_seconds(
                    path, _FILM_S, ways=[way], max_bytes=_NO_LIMIT_BYTES, advice="shorten it"
                )
        own = by_path[shown.video]
        if shown.sound_of is not None:
            own = _with_sound_of(own, by_path[shown.sound_of], way)
        used_bytes += own.num_bytes
        if used_bytes > max_bytes:
            return None
        made.append(own)
        filmed(len(made), len(wanted))
    return made


def _with_sound_of(picture: Film, sound: Film, way: NormalizeConfig) -> Film:
    """The same pictures, with the sound of another film; silence where that ends early."""
    with tempfile.TemporaryDirectory(prefix="avipipe-study-") as scratch:
        folder = Path(scratch)
        for name, each in (("picture", picture), ("sound", sound)):
            (folder / f"{name}.mp4").write_bytes(base64.b64decode(each.video))
        written = ffmpeg.output(
            ffmpeg.input(f"file:{folder / 'picture.mp4'}").video,
            ffmpeg.input(f"file:{folder / 'sound.mp4'}").audio.filter("apad"),
            f"file:{folder / 'both.mp4'}",
            t=float(picture.num_frames / FPS),
            movflags="+faststart",
            fflags="+bitexact",
            map_metadata=-1,
            **{"c:v": "copy", "c:a": "aac", "flags:a": "+bitexact", "b:a": f"{way.audio_kbps}k"},
        )
        run(list(written.compile()[1:]), timeout_s=_MUX_TIMEOUT_S)
        video = base64.b64encode((folder / "both.mp4").read_bytes()).decode("ascii")
    return Film(picture.width, picture.height, picture.num_frames, video)
