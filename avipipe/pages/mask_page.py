"""The page on which a person draws the mask of a video: one HTML file that needs nothing else."""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from markupsafe import Markup

from avipipe.errors import ConfigError, ManifestError
from avipipe.files import sha256_of, write_whole
from avipipe.manifests.records import digest
from avipipe.manifests.rle import MaskTrack, read_masks
from avipipe.manifests.samples import FPS
from avipipe.media.dubbed import Dubbed, dubbed
from avipipe.media.normalize import NormalizeConfig
from avipipe.pages.film import Film, film, mask_bytes
from avipipe.pages.render import environment, inside_script, joined, script_hash, shared
from avipipe.text import safe_text

_HERE = Path(__file__).parent
_PAGE_BYTES = 100_000
"""Of a page without its film: styles, script and words."""

_QUALITIES = ((720, 23, 96), (540, 26, 96), (360, 28, 96), (360, 34, 64), (360, 42, 48))
"""Short side in pixels, constant rate factor of libx264, kbit/s of AAC: one after the other until
the film is small enough. Edges are drawn on it, so sharpness goes last."""

_LEAST_SIDE_PX = 360
_MOST_TO_ONE = Fraction(8, 3)
"""Long side to short side of what gets its full height."""
_ID_CHARS = 16

EDITOR_STYLES = ("tool.css", "mask_editor.css")
EDITOR_SCRIPTS = (
    *("rle.js", "silhouette.js", "player.js", "mask_track.js", "mask_shapes.js"),
    *("mask_editor.js", "mask_view.js"),
)
"""What a page with a mask editor needs; `base.css` comes before, `mask_editor.html` is included."""


@dataclass(frozen=True, slots=True)
class MaskPage:
    """What the page says of the video; its film stands beside it.

    Attributes:
        page_id: what is drawn is kept under this.
        title: the name of the file, for people.
        name: that of files to come, without an ending.
        width, height: of the upright source in square pixels, in which masks are drawn.
        starts_from: name of the masks that were given; empty where there were none.
    """

    page_id: str
    title: str
    name: str
    width: int
    height: int
    num_frames: int
    starts_from: str


@dataclass(frozen=True, slots=True)
class MaskPageSummary:
    """The page that was written, and the short side of its film in pixels."""

    page: MaskPage
    num_bytes: int
    short_side_px: int


def write_mask_page(
    video: Path, out: Path, *, masks: Path | None, max_bytes: int
) -> MaskPageSummary:
    """Write a page on which the mask of a video is drawn, frame by frame as `avipipe edit` sees it.

    Args:
        masks: a `masks.json` of this video, to start from.
        max_bytes: of the page; the film gets coarser until it holds.
    Raises:
        MediaError: the video cannot be read; `kind` says why.
        ConfigError: the masks are not of this video or cannot be read, or the page does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="avipipe-") as scratch:
        found = dubbed(video, Path(scratch))
        given = None if masks is None else _given(masks, found)
        seen = found.info.video
        taken = film(
            found.path,
            found.info,
            start_s=seen.start_s,
            end_s=seen.end_s,
            masks=given,
            ways=_ways(found.shape),
            folder=Path(scratch),
            max_bytes=max_bytes - _PAGE_BYTES - mask_bytes(given),
            advice="cut the video to what is to be edited, or allow a larger page (--max-mb)",
        )
    parts = [path for path in (video, masks) if path is not None]
    page = MaskPage(
        page_id=digest([sha256_of(path) for path in parts])[:_ID_CHARS],
        title=safe_text(video.name),
        name=safe_text(video.stem),
        width=found.shape[0],
        height=found.shape[1],
        num_frames=taken.num_frames,
        starts_from="" if masks is None else safe_text(masks.name),
    )
    data = render(page, taken).encode()
    write_whole(out, data)
    return MaskPageSummary(page, len(data), min(taken.width, taken.height))


def render(page: MaskPage, taken: Film) -> str:
    """The page: HTML with its styles, script, film and masks inside.

    A content security policy in the page forbids every request and every script but its own.
    """
    script = '"use strict";\n' + shared(*EDITOR_SCRIPTS) + joined(_HERE / "mask.js")
    return (
        environment(_HERE)
        .get_template("mask.html")
        .render(
            page=page,
            data=inside_script(asdict(page)),
            video=Markup(taken.video),
            masks=inside_script(taken.mask_data),
            css=Markup(shared("base.css", *EDITOR_STYLES, "mask.css")),
            script=Markup(script),
            script_hash=script_hash(script),
        )
    )


def _ways(shape: tuple[int, int]) -> Iterator[NormalizeConfig]:
    """From fine to coarse; a small picture is not enlarged to more than one can draw on."""
    most_px = max(_LEAST_SIDE_PX, min(shape) // 2 * 2)
    for side_px, crf, audio_kbps in _QUALITIES:
        short_px = min(side_px, most_px)
        long_px = round(short_px * _MOST_TO_ONE)
        yield NormalizeConfig(
            short_side_px=short_px, max_long_side_px=long_px, crf=crf, audio_kbps=audio_kbps
        )


def _given(path: Path, video: Dubbed) -> MaskTrack:
    try:
        track = read_masks(path)
        track.check()
    except (OSError, ManifestError) as error:
        raise ConfigError(
            f"--mask {path}: expected masks like a sample's masks.json, with size, fps and frames: "
            f"{error}"
        ) from error
    width, height = video.shape
    expected = (height, width, FPS, video.num_frames)
    found = (*track.size, track.fps, len(track.frames))
    if found != expected:
        raise ConfigError(
            f"--mask {path}: expected the masks of this very video, {_told(*expected)}; found "
            f"{_told(*found)}; give the video that they were made from, or leave --mask out"
        )
    return track


def _told(height: int, width: int, fps: int, num_frames: int) -> str:
    return f"{num_frames} frames of {width}x{height} at {fps} fps"
