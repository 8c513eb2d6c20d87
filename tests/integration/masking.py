"""Writes mask pages and draws on them as a person would, and knows which masks must come of it."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from avipipe.annotators.base import Mask
from avipipe.editor.common.media import Take
from avipipe.editor.edit.job import MaskSpec
from avipipe.editor.edit.masks_in import UserMask, read_mask
from tests.integration import lavfi
from tests.integration.builds import avipipe
from tests.tab import Tab

Point = tuple[float, float]
DURATION_S = 2.0
NUM_FRAMES = 48


def upright(folder: Path) -> Path:
    return lavfi.write(
        folder / "upright.mp4",
        video=lavfi.picture("24", "320x180", DURATION_S),
        audio=lavfi.sound(duration_s=DURATION_S),
    )


def odd(folder: Path) -> Path:
    """Turned by a quarter, in pixels that are wider than high, 30 frames a second: 180x426."""
    flat = lavfi.write(
        folder / "flat.mp4",
        video=lavfi.picture("30", "320x180", DURATION_S) + ",setsar=4/3",
        audio=lavfi.sound(duration_s=DURATION_S),
    )
    return lavfi.turned(folder / "odd.mp4", flat, degrees=90)


def silent(folder: Path) -> Path:
    return lavfi.write(
        folder / "silent.mp4", video=lavfi.picture("25", "320x180", DURATION_S), audio=None
    )


def write_page(video: Path, page: Path, *options: str | Path) -> Path:
    done = avipipe("mask", video, "--out", page, *options)
    assert done.code == 0, done.err
    assert done.out.strip() == str(page)
    return page


class Drawing:
    """The editor in a tab; places are in pixels of the upright source."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        tab.wait("editor.track && editor.player.video.readyState > 2")
        self.size: tuple[int, int] = tuple(tab.run("[editor.track.height, editor.track.width]"))

    def at(self, frame: int) -> None:
        """Go to a frame, and wait until it is on the screen."""
        self.tab.run(f"editor.player.seek({frame})")
        self.tab.wait(f"editor.player.frame === {frame} && !editor.player.video.seeking")

    def drag(self, *points: Point, shift: bool = False) -> None:
        self.tab.drag(*map(self._place, points), shift=shift)

    def clicks(self, *points: Point) -> None:
        for point in points:
            self.drag(point)

    def _place(self, point: Point) -> Point:
        left, top, width, height = self.tab.run(
            "(b => [b.left, b.top, b.width, b.height])(editor.canvas.getBoundingClientRect())"
        )
        scale_x, scale_y = width / self.size[1], height / self.size[0]
        # A quarter of a pixel on, as the browser cuts off fractions.
        return left + point[0] * scale_x + 0.25, top + point[1] * scale_y + 0.25

    def option(self) -> str:
        text: str = self.tab.run("part('m-option').textContent")
        return text

    def said(self) -> str:
        text: str = self.tab.run("part('m-said').textContent")
        return text

    def saved(self) -> Path:
        """The file that the key for it gives."""
        for earlier in self.tab.downloads.glob("*"):
            earlier.unlink()
        self.tab.press("w")
        return self.tab.downloaded("*.masks.json")


def read_saved(path: Path) -> list[Mask]:
    """The masks of a file, as pycocotools reads them."""
    data = json.loads(path.read_text())
    assert data["fps"] == 24
    height, width = data["size"]
    codes = [{"size": [height, width], "counts": counts} for counts in data["frames"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own, under numpy 2
        return [np.asarray(coco.decode(code), np.bool_) for code in codes]


def as_edited(size: tuple[int, int], **mask: object) -> UserMask:
    """A mask as `avipipe edit` takes it, where all of the picture is edited at its own size."""
    height, width = size
    take = Take(0, NUM_FRAMES, size, 0, 0, height, width)
    return read_mask(MaskSpec.model_validate(mask), take, (width, height), max_precision=4)


def box(size: tuple[int, int], x0: float, y0: float, x1: float, y1: float) -> Mask:
    """What a box covers: the pixels whose middles are in it."""
    rows, columns = middles(size)
    return (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)


def polygon(size: tuple[int, int], corners: Sequence[Point]) -> Mask:
    """The same of a polygon, by the even-odd rule."""
    rows, columns = middles(size)
    found = np.zeros(size, np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        between = (x0 <= columns) != (x1 <= columns)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossed = y0 + (columns - x0) * (y1 - y0) / (np.float64(x1) - x0)
        found ^= between & (rows >= crossed)
    return found


def disc(size: tuple[int, int], x: float, y: float, radius: float) -> Mask:
    rows, columns = middles(size)
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def between(a: Sequence[Point], b: Sequence[Point], share: float) -> list[Point]:
    """Each point on its way from a to b."""
    return [
        (x0 + (x1 - x0) * share, y0 + (y1 - y0) * share)
        for (x0, y0), (x1, y1) in zip(a, b, strict=True)
    ]


def middles(size: tuple[int, int]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rows and columns of the middles of all pixels."""
    rows, columns = np.indices(size, np.float64)
    return rows + 0.5, columns + 0.5
