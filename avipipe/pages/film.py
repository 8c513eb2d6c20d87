"""A video that a page can carry, and the mask of each of its frames."""

import base64
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avipipe.errors import ConfigError
from avipipe.manifests.rle import MaskTrack
from avipipe.media.dubbed import dubbed
from avipipe.media.normalize import VIDEO_NAME, NormalizeConfig, Normalized, normalize
from avipipe.media.probe import MediaInfo

_LONG_S = 30.0
_TRIAL_S = 4.0
"""Of a long film, so much from its middle tells first whether a way to encode it is hopeless."""


@dataclass(frozen=True, slots=True)
class Film:
    """A video that a browser can play.

    Attributes:
        video: H.264 and AAC in MP4, frame n at n/24 s, in base64.
        masks: of its frames, in their own size; None where there are none.
    """

    width: int
    height: int
    num_frames: int
    video: str
    masks: MaskTrack | None = None

    @property
    def num_bytes(self) -> int:
        """On a page."""
        return len(self.video) + mask_bytes(self.masks)

    @property
    def mask_data(self) -> dict[str, Any] | None:
        """Size and counts, as pages read them."""
        if self.masks is None:
            return None
        return {"size": list(self.masks.size), "frames": list(self.masks.frames)}


def film(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float,
    masks: MaskTrack | None,
    ways: Iterable[NormalizeConfig],
    folder: Path,
    max_bytes: int,
    advice: str,
) -> Film:
    """Encode an interval of a video, in source time.

    Args:
        masks: to go with it.
        ways: to encode, one after the other until the film is small enough.
        folder: to work in.
        max_bytes: of the video on the page, masks not counted.
        advice: what to do where even the last way is too large.
    Raises:
        MediaError: it cannot be decoded.
        ConfigError: it does not fit.
    """
    duration_s = end_s - start_s

    def encoded(from_s: float, to_s: float, way: NormalizeConfig) -> tuple[Normalized, str]:
        written = normalize(path, info, start_s=from_s, end_s=to_s, folder=folder, config=way)
        return written, base64.b64encode((folder / VIDEO_NAME).read_bytes()).decode("ascii")

    for way in ways:
        if duration_s > _LONG_S:
            middle_s = (start_s + end_s) / 2
            trial, video = encoded(middle_s, middle_s + _TRIAL_S, way)
            num_bytes = round(len(video) * duration_s / trial.duration_s)
            if num_bytes > 2 * max_bytes:
                continue
        written, video = encoded(start_s, end_s, way)
        num_bytes = len(video)
        if num_bytes <= max_bytes:
            return Film(written.width, written.height, written.num_frames, video, masks)
    raise ConfigError(
        f"a film of {duration_s:.1f} s takes about {num_bytes / 1e6:.2f} MB at the lowest quality, "
        f"and {max(max_bytes, 0) / 1e6:.2f} MB are left for it: {advice}"
    )


def first_seconds(
    path: Path, at_most_s: float, *, ways: Iterable[NormalizeConfig], max_bytes: int, advice: str
) -> Film:
    """Encode the beginning of a video, with silence where it has no sound; see `film`.

    Raises:
        MediaError: it cannot be decoded.
        ConfigError: it does not fit.
    """
    with tempfile.TemporaryDirectory(prefix="avipipe-film-") as scratch:
        found = dubbed(path, Path(scratch))
        start_s = found.info.video.start_s
        return film(
            found.path,
            found.info,
            start_s=start_s,
            end_s=min(found.info.video.end_s, start_s + at_most_s),
            masks=None,
            ways=ways,
            folder=Path(scratch),
            max_bytes=max_bytes,
            advice=advice,
        )


def mask_bytes(masks: MaskTrack | None) -> int:
    """What masks take on a page."""
    # Quotes and comma, and a backslash before each backslash of the counts.
    return sum(len(code) + code.count("\\") + 3 for code in masks.frames) if masks else 0
