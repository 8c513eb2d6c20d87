"""A clip as a small video that a page can carry, and the outline of its mask in every frame."""

import base64
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from avipipe.errors import ConfigError
from avipipe.media.decode import scaled_size
from avipipe.media.normalize import VIDEO_NAME, NormalizeConfig, normalize
from avipipe.pipeline.report.pictures import outline
from avipipe.pipeline.review.clips import ClipMedia

_SIZE = {"short_side_px": 360, "max_long_side_px": 960}
"""Enough to see lips move and a mask's edge, and a tenth of the bytes that 720 takes."""

_QUALITIES = ((28, 96), (34, 96), (40, 64), (46, 48))
"""Constant rate factor of libx264 and kbit/s of AAC, one after the other until the clip is small
enough: first what shows and sounds well, last what one can just judge by."""


@dataclass(frozen=True, slots=True)
class Film:
    """A clip that a browser can play.

    Attributes:
        video: H.264 and AAC in MP4, 24 fps, in base64.
        outlines: of each frame an SVG path for the even-odd rule, in pixels of the video; empty
            where there are no masks.
    """

    width: int
    height: int
    num_frames: int
    video: str
    outlines: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        return len(self.video) + sum(map(len, self.outlines))


def film(footage: ClipMedia, folder: Path, *, max_bytes: int) -> Film:
    """Encode a clip.

    Args:
        folder: to work in.
        max_bytes: of the film on the page.
    Raises:
        MediaError: it cannot be decoded.
        ConfigError: it does not fit even at the lowest quality.
    """
    outlines = _outlines(footage)
    left_bytes = max_bytes - sum(map(len, outlines))
    for crf, audio_kbps in _QUALITIES:
        written = normalize(
            footage.path,
            footage.info,
            start_s=footage.start_s,
            end_s=footage.end_s,
            folder=folder,
            config=NormalizeConfig(**_SIZE, crf=crf, audio_kbps=audio_kbps),
        )
        video = base64.b64encode((folder / VIDEO_NAME).read_bytes()).decode("ascii")
        if len(video) <= left_bytes:
            return Film(written.width, written.height, written.num_frames, video, outlines)
    raise ConfigError(
        f"a clip of {written.duration_s:.1f} s takes {len(video) / 1e6:.2f} MB at the lowest "
        f"quality, and {max(left_bytes, 0) / 1e6:.2f} MB are left for it: ask for fewer clips "
        "(--count) or a larger page (--max-mb)"
    )


def _outlines(footage: ClipMedia) -> tuple[str, ...]:
    masks = footage.masks
    if masks is None:
        return ()
    size = scaled_size(footage.info.video, **_SIZE, upscale=True)
    return tuple(_relative(outline(masks.mask(n), *size)) for n in range(len(masks.frames)))


def _relative(path: str) -> str:
    """The same path in steps from point to point, which takes half the letters."""
    parts = []
    for part in path.split("Z")[:-1]:
        points = [[int(number) for number in point.split()] for point in part[1:].split("L")]
        steps = (b - a for one, next_ in pairwise(points) for a, b in zip(one, next_, strict=True))
        begin = " ".join(map(str, points[0]))
        parts.append(f"M{begin}l{' '.join(map(str, steps)).replace(' -', '-')}Z")
    return "".join(parts)
