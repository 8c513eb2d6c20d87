"""Finds lines of text with the detector of PP-OCR v3.

Source: Li et al., PP-OCRv3, arXiv 2206.03001; its maps are those of Liao et al., Real-time scene
text detection with differentiable binarization, AAAI 2020.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.base import Box, Frames
from avipipe.annotators.networks import onnx_session
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError

_LONG_SIDE_PX = 640
"""Size at which text is looked for; a choice, as larger pictures cost more."""
_STEP_PX = 32
"""Sides must be multiples of this: the network halves a picture five times."""
# Mean and deviation of ImageNet's colours in [0, 1], by which the network was trained.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
# PaddleOCR's own: probability of a pixel and mean one of a line from which they are text, growth of
# a line to its whole, and least side of its inside in pixels.
_TEXT = 0.3
_SURE = 0.6
_SHRUNK = 1.5
_LEAST_SIDE_PX = 3


class PpOcrTextFinder(Weighted):
    """Finds lines of text, without reading them, at 640 px on the picture's long side.

    A line counts where the network is sure (0.6) of its inside; the thresholds are PaddleOCR's own.
    """

    name = "ppocr"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("ppocr_det",)
    packages = ("ai-edge-litert", "onnxruntime")
    height_px = 360

    def __init__(self) -> None:
        self._session: Any = None

    def setup(self) -> None:
        """Load the PP-OCR detector, once.

        Raises:
            WeightsError: it is missing, corrupted or another one.
            ImportError: onnxruntime is not installed (extra `light`).
        """
        cv2.setNumThreads(1)
        free = [f"p2o.DynamicDimension.{n}" for n in range(6)]
        self._session = onnx_session(
            weights.locate(self.needs[0]),
            weight=self.needs[0],
            inputs=[(free[0], 3, *free[1:3])],
            outputs=[(free[3], 1, *free[4:])],
        )

    def find(self, frames: Sequence[Frames]) -> list[tuple[Box, ...]]:
        """Boxes around the lines of text of each picture (h, w, 3), from top to bottom.

        Raises:
            AnnotatorError: a picture is empty.
        """
        return [tuple(sorted(self._lines(frame), key=lambda box: box[1::-1])) for frame in frames]

    def _lines(self, frame_HWC: Frames) -> Iterator[Box]:
        height, width = frame_HWC.shape[:2]
        if min(height, width) == 0:
            raise AnnotatorError(message=f"expected a picture, got one of {(width, height)}")
        scale = _LONG_SIDE_PX / max(height, width)
        size = _whole_steps(width * scale), _whole_steps(height * scale)
        picture = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_LINEAR)[..., ::-1]
        planes = ((picture / np.float32(255.0) - _MEAN) / _STD).transpose(2, 0, 1)
        (probability_HW,) = self._session.run(None, {"x": planes[None]})[0][0]
        back_x, back_y = width / size[0], height / size[1]
        for x0, y0, x1, y1 in lines(probability_HW):
            yield x0 * back_x, y0 * back_y, x1 * back_x, y1 * back_y


def lines(probability_HW: npt.NDArray[np.float32]) -> Iterator[Box]:
    """Boxes of text lines in a probability map of their insides, which are narrower."""
    height, width = probability_HW.shape
    text_HW = (probability_HW > _TEXT).astype(np.uint8)
    outlines, _ = cv2.findContours(text_HW, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for outline in outlines:
        x, y, w, h = cv2.boundingRect(outline)
        if min(w, h) < _LEAST_SIDE_PX:
            continue
        inside = text_HW[y : y + h, x : x + w] > 0
        if probability_HW[y : y + h, x : x + w][inside].mean() < _SURE:
            continue
        # The network was taught insides that are shrunk by area over perimeter, times a factor.
        around = _SHRUNK * (w * h) / (2.0 * (w + h))
        yield (
            max(0.0, x - around),
            max(0.0, y - around),
            min(float(width), x + w + around),
            min(float(height), y + h + around),
        )


def _whole_steps(length: float) -> int:
    return _STEP_PX * max(1, round(length / _STEP_PX))
