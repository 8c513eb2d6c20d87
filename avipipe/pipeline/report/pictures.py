"""Frames as JPEG data URIs, and masks as SVG paths drawn over them.

A mask as a path stays sharp at any zoom, weighs about a kilobyte, and lets one frame carry every
degraded mask of its clip.
"""

import base64
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from avipipe.errors import MediaError
from avipipe.media.container import open_media
from avipipe.pipeline.report.model import FramePicture

logger = logging.getLogger(__name__)

# Sizes of pictures in the report, and quality of their JPEG in percent; choices of size.
FRAME_HEIGHT_PX = 270
STILL_HEIGHT_PX = 160
MAX_WIDTH_PX = 1200
_QUALITY = 80
_TOLERANCE_PX = 0.6
"""By which an outline may leave a mask's: less than is seen."""

Frame = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def frames_at(path: Path, indices: Sequence[int]) -> list[Frame]:
    """Read some frames of a video that was cut by us: its n-th picture is frame n.

    Args:
        indices: rising frame numbers.
    Returns:
        (H, W, 3) uint8 RGB each; fewer than asked for where the file ends or breaks before.
    """
    wanted = set(indices)
    found: list[Frame] = []
    try:
        with open_media(path) as container:
            container.streams.video[0].thread_count = 1
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    found.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                if len(found) == len(wanted):
                    break
    except (MediaError, av.FFmpegError, IndexError) as error:
        logger.warning("%s: no picture of it in the report: %s", path, error)
    return found


def picture(
    frame_HWC: Frame, mask_HW: Mask | None = None, *, height_px: int, time_s: float | None = None
) -> FramePicture:
    """Encode a frame scaled down to `height_px` (never up), with the outline of its mask."""
    height, width = frame_HWC.shape[:2]
    scale = min(1.0, height_px / height, MAX_WIDTH_PX / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    assert done
    uri = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
    path = "" if mask_HW is None else outline(mask_HW, *size)
    return FramePicture(uri, size[0], size[1], time_s, path)


def outline(mask_HW: Mask, width: int, height: int) -> str:
    """Outline of a mask, outer and inner, as an SVG path for the even-odd rule.

    Args:
        width, height: of the picture that the path will lie on.
    """
    small = cv2.resize(
        mask_HW.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA
    )
    contours, _ = cv2.findContours(
        (small >= 128).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, _TOLERANCE_PX, closed=True).reshape(-1, 2)
        if len(points) > 2:
            parts.append("M" + "L".join(f"{x} {y}" for x, y in points.tolist()) + "Z")
    return "".join(parts)


def still(path: Path, note: str) -> FramePicture | None:
    """Read a picture file that a stage left behind; None if it cannot be read.

    One of a single channel is a map of something, and gets the colours of one.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        logger.warning("%s: this picture cannot be read; the report goes without it", path)
        return None
    if image.ndim == 2:
        scale = STILL_HEIGHT_PX / image.shape[0]
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        image = cv2.applyColorMap(image, cv2.COLORMAP_INFERNO)
    rgb_HWC = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return replace(picture(rgb_HWC, height_px=STILL_HEIGHT_PX), note=note)
