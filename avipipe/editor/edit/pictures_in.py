"""Control videos and reference images, at the size that is edited."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from avipipe.annotators.base import Frames
from avipipe.editor.common.media import Take
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.given import is_image, opened, read_pixels
from avipipe.editor.edit.masks_in import at_times, check_length, check_shape
from avipipe.manifests.samples import FPS

_WHITE = 255
"""Level of the page that a reference image lies on."""


def read_image(path: Path) -> Frames:
    """An image file, (H, W, 3) RGB.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    pixels = read_pixels(path, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def read_reference(path: Path, take: Take) -> Frames:
    """An image in the middle of white, at the size that is edited, (H, W, 3).

    Raises:
        ConfigError: it cannot be read.
    """
    image_HWC = read_image(path)
    height, width = image_HWC.shape[:2]
    scale = min(take.height_px / height, take.width_px / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA)
    page = np.full((take.height_px, take.width_px, 3), _WHITE, np.uint8)
    top, left = (take.height_px - size[1]) // 2, (take.width_px - size[0]) // 2
    page[top : top + size[1], left : left + size[0]] = small
    return page


def read_control(path: Path, take: Take, shape: tuple[int, int], folder: Path) -> Footage:
    """A control, frame by frame as the video, kept in a folder; an image holds for all frames.

    Raises:
        ConfigError: it is of another size or length, or cannot be read.
    """
    footage = Footage(folder)
    footage.write_all(_fit(picture, take, shape, path) for picture in control_pictures(path, take))
    return footage


def control_pictures(path: Path, take: Take) -> Iterator[Frames]:
    """The picture of a control that is on show at each frame of a video, (H, W, 3) RGB.

    Raises:
        ConfigError: it is of another length, or cannot be read.
    """
    if is_image(path):
        yield from itertools.repeat(read_image(path), take.num_frames)
        return
    with opened(path) as (container, stream):
        fps = Fraction(stream.average_rate or FPS)
        wanted = at_times(fps, take.num_frames)
        num_pictures, num_shown = 0, 0
        for frame in container.decode(stream):
            picture_HWC = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            num_now = wanted.count(num_pictures)
            yield from itertools.repeat(picture_HWC, num_now)
            num_pictures, num_shown = num_pictures + 1, num_shown + num_now
        check_length(num_pictures, fps, take.num_frames, str(path))
        yield from itertools.repeat(picture_HWC, take.num_frames - num_shown)


def _fit(picture_HWC: Frames, take: Take, shape: tuple[int, int], path: Path) -> Frames:
    height, width = picture_HWC.shape[:2]
    check_shape((width, height), shape, path)
    whole = cv2.resize(picture_HWC, take.scaled_px[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(whole[take.window], np.uint8)
