"""Opens the pictures and videos that a user gives beside the video: masks, controls, references.

What they declare is checked before anything is decoded. `MAX_PIXELS` is what bounds the memory:
one picture is held at a time, at most 8 bytes a pixel as decoded (RGBA of 16 bits: 0.5 GiB) and as
much again on its way to what is edited. Of masks only run-length counts are kept.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from PIL import Image, UnidentifiedImageError

from avipipe.errors import ConfigError, MediaError
from avipipe.media.container import DEFAULT_LIMITS, open_media

MAX_PIXELS = DEFAULT_LIMITS.max_pixels
"""As of the video itself."""

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name."""
    return path.suffix.lower() in _FORMATS


def read_pixels(path: Path, flags: int) -> npt.NDArray[Any]:
    """An image file, as OpenCV reads it with these flags.

    Raises:
        ConfigError: it cannot be read, or is larger than `MAX_PIXELS`.
    """
    check_pixels(path, *_declared(path))
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise _no_image(path, "its picture is damaged")
    return np.asarray(pixels)


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """A video file and its pictures, of which none is larger than `MAX_PIXELS`.

    Raises:
        ConfigError: it cannot be read, or is larger; also where that shows in the context.
    """
    try:
        with open_media(path) as container:
            stream = container.streams.video[0]
            check_pixels(path, stream.width, stream.height)
            # Of pictures that grow midway.
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            yield container, stream
    except (MediaError, av.FFmpegError, IndexError) as error:
        raise ConfigError(
            f"{path}: expected an image or a video; it cannot be read: {error}"
        ) from error


def check_pixels(path: Path, width: int, height: int) -> None:
    """Refuse what is too large.

    Raises:
        ConfigError: it is.
    """
    if width * height > MAX_PIXELS:
        raise ConfigError(
            f"{path}: expected at most {MAX_PIXELS} pixels, found {width}x{height}; scale it to "
            "the size of the video"
        )


def _declared(path: Path) -> tuple[int, int]:
    """Width and height, as the head of an image file says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=sorted(set(_FORMATS.values()))) as image:
                return image.size
    except Image.DecompressionBombError as error:  # far beyond the limit; it says how far
        raise ConfigError(f"{path}: expected at most {MAX_PIXELS} pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise _no_image(path, "its head is of none of these") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise _no_image(path, str(error)) from error


def _no_image(path: Path, why: str) -> ConfigError:
    kinds = ", ".join(sorted(set(_FORMATS.values())))
    return ConfigError(f"{path}: expected an image ({kinds}); it cannot be read: {why}")
