"""Masks of a case, from any file that holds some."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.errors import FailKind, MediaError
from avipipe.evaluate.case_folders import IMAGE_SUFFIXES
from avipipe.evaluate.views import DETAIL_PX, FPS, Frames, MediaView, cut, resized, size_within
from avipipe.manifests.rle import read_masks
from avipipe.media.crop import WHOLE, Shares
from avipipe.media.decode import num_ticks

_WHITE = 127
"""Levels above this are inside of a mask: the middle of 0 to 255, which JPEG's halo does not
reach."""


@dataclass
class MaskView:
    """A mask; `shown` is the part of it to look at, where it is of the whole source."""

    path: Path
    folder: Path
    shown: Shares = WHOLE

    def masks(self, num_frames: int, size: tuple[int, int], step: int = 1) -> npt.NDArray[np.bool_]:
        """The masks of pictures at `FPS`, every `step`-th of them, as bool (T, H, W).

        Args:
            size: width and height.
        Raises:
            MediaError: it cannot be read; ManifestError: it is no `masks.json`.
        """
        found = np.zeros((-(-num_frames // step), *size[::-1]), np.bool_)
        for number in range(0, num_frames, step):
            levels_HW = cut(self._levels(number), self.shown)
            own_size = (levels_HW.shape[1], levels_HW.shape[0])
            grown = size[0] > own_size[0]
            way = cv2.INTER_NEAREST if grown else cv2.INTER_AREA
            found[number // step] = cv2.resize(levels_HW, size, interpolation=way) > _WHITE
        return found

    @cached_property
    def _levels(self) -> Callable[[int], Frames]:
        """From the number of a picture to its mask, 0 to 255, at its own size."""
        if self.path.suffix.lower() == ".json":
            return self._coded()
        if (still_HW := _still(self.path)) is not None:
            return lambda number: still_HW
        return self._filmed()

    def _coded(self) -> Callable[[int], Frames]:
        track = read_masks(self.path)
        if not track.frames:
            raise MediaError(FailKind.CORRUPT, f"expected a mask of each frame in {self.path}")

        def levels(number: int) -> Frames:
            at = min(int((number + Fraction(1, 2)) / FPS * track.fps), len(track.frames) - 1)
            return np.where(track.mask(at), 255, 0).astype(np.uint8)

        return levels

    def _filmed(self) -> Callable[[int], Frames]:
        view = MediaView(self.path, self.folder)
        size = size_within(view.shape, DETAIL_PX)
        num_frames = num_ticks(view.looked_s, FPS)
        held = np.empty((num_frames, *size[::-1]), np.uint8)
        for number, frame_HWC in enumerate(view.frames(max(size), min(size))):
            held[number] = resized(frame_HWC, size)[..., 0]
        return lambda number: held[min(number, num_frames - 1)]


def _still(path: Path) -> Frames | None:
    """An image of a mask, (H, W) uint8; None for what is no image."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    with suppress(cv2.error):
        still_HW: Frames | None = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if still_HW is not None:
            return still_HW
    raise MediaError(FailKind.CORRUPT, f"expected an image of a mask in {path}, found none")
