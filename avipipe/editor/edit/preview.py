"""The source and the result side by side, and stills of both for the trace."""

import base64
from collections.abc import Iterator

import cv2
import numpy as np

from avipipe.annotators.base import Frames, Mask

_GIVEN_RGB = (255, 196, 0)
_REFINED_RGB = (0, 220, 120)
_GAP_PX = 4
"""Between the two pictures; a choice."""
_QUALITY = 82
"""Of JPEG in percent; a choice of size."""


def side_by_side(
    source_FHWC: Frames, given_FHW: Mask, refined_FHW: Mask, result_FHWC: Frames, *, height_px: int
) -> Iterator[Frames]:
    """Each frame of the source with the outlines of its masks, and beside it that of the result.

    Yields:
        (H, W, 3) uint8 with even sides; H is `height_px` at most.
    """
    for source, given, refined, result in zip(
        source_FHWC, given_FHW, refined_FHW, result_FHWC, strict=True
    ):
        pair = [outlined(source, given, refined, height_px), _fit(result, height_px)]
        gap = np.zeros((len(pair[0]), _GAP_PX, 3), np.uint8)
        yield np.concatenate([pair[0], gap, pair[1]], axis=1)


def outlined(source_HWC: Frames, given_HW: Mask, refined_HW: Mask, height_px: int) -> Frames:
    """A frame with the user's mask in amber and the refined one in green."""
    picture = _fit(source_HWC, height_px)
    size, pen = picture.shape[1::-1], max(1, picture.shape[0] // 240)
    # Where both have one outline, both colours are seen.
    for mask_HW, colour, width in (
        (given_HW, _GIVEN_RGB, 3 * pen),
        (refined_HW, _REFINED_RGB, pen),
    ):
        small = cv2.resize(mask_HW.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(small, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, colour, width)
    return picture


def jpeg_uri(picture_HWC: Frames) -> str:
    """A picture as a `data:` address."""
    bgr = cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _fit(frame_HWC: Frames, height_px: int) -> Frames:
    height, width = frame_HWC.shape[:2]
    scale = min(1.0, height_px / height)
    size = tuple(2 * round(scale * side / 2) for side in (width, height))
    return np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA), np.uint8).copy()
