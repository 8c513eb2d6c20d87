"""Cuts people out of a frame with MediaPipe's selfie network, other things with GrabCut or DeepLab.

Source: MediaPipe Selfie Segmentation (Google, model card of 2021); Chen et al., DeepLabv3,
arXiv 1706.05587, on MobileNetV2 and Pascal VOC.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.base import Box, FrameMask, Frames, Mask
from avipipe.annotators.embedded.segment import GrabCutSegmenter, grab_cut
from avipipe.annotators.networks import run_tflite, tflite_interpreter
from avipipe.annotators.sounding import is_person
from avipipe.annotators.views import View, pad_box
from avipipe.annotators.weighted import Weighted

Probability = npt.NDArray[np.float32]

_SELFIE_PX = 256
"""The network's input."""
_GROWTHS = (0.0, 0.15, 0.3)
"""Of a box on each side, as shares of its own: what the network sees decides what it thinks is the
subject, so the median of three looks is taken."""
_REFINED_PX = 256
"""Longest side at which GrabCut settles what is not sure; a choice, the network sees no finer."""
_SURE = 0.9
"""Probability beyond which, either way, GrabCut may change nothing; a choice."""
_EVEN_ODDS = 0.5
"""Probability from which a pixel rather shows the thing."""
_LEAST_FILL = 0.05
"""Share of the box that a mask must have; of less the network did not see the thing. A choice."""
_LEAST_PART = 0.1
"""Area of a part over the largest one's under which it is a speck; a choice."""

_DEEPLAB_PX = 513
"""The network's input."""
_LEAST_SIDE_PX = 96.0
"""Short side of a box under which DeepLab, made for whole photographs, sees nothing."""
_VOC = "- airplane bicycle bird boat - bus car cat - cow - dog horse motorcycle - - sheep - train"
"""COCO's names of the animals and vehicles among Pascal VOC's classes, in the order of these."""


class SelfieSegmenter(Weighted):
    """Segments people: what three views of their box agree on, refined by GrabCut.

    What is no person, and whom the network does not see, is left to GrabCut alone.
    """

    name = "selfie"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("selfie_segmentation",)
    packages = ("ai-edge-litert", "onnxruntime")

    def __init__(self) -> None:
        self._selfie: Any = None
        self._grab_cut = GrabCutSegmenter()

    def setup(self) -> None:
        """Load the selfie network, once.

        Raises:
            WeightsError: it is missing, corrupted or another one.
            ImportError: ai-edge-litert is not installed (extra `light`).
        """
        self._grab_cut.setup()
        name = "selfie_segmentation"
        self._selfie = tflite_interpreter(
            weights.locate(name),
            weight=name,
            inputs=[(1, _SELFIE_PX, _SELFIE_PX, 3)],
            outputs=[(1, _SELFIE_PX, _SELFIE_PX, 1)],
        )

    def segment(
        self, frame_HWC: Frames, *, box: Box, rough_HW: Mask | None = None, label: str = ""
    ) -> FrameMask:
        """Segment the thing in `box`.

        A person's score is how sure the network is of the mask's pixels, on average; others have
        GrabCut's.

        Raises:
            AnnotatorError: no pixel of the frame is in the box.
        """
        probability_HW = self._probability(frame_HWC, box, label)
        if probability_HW is not None:
            mask_HW = refined(frame_HWC, probability_HW, box)
            if mask_HW.sum() >= _LEAST_FILL * _area(box):
                sure = float(np.abs(2.0 * probability_HW[mask_HW] - 1.0).mean())
                return FrameMask(mask_HW, min(1.0, sure))
        return self._grab_cut.segment(frame_HWC, box=box, rough_HW=rough_HW, label=label)

    def _probability(self, frame_HWC: Frames, box: Box, label: str) -> Probability | None:
        """Of each pixel (H, W) that it shows the thing; None where no network knows it."""
        if not is_person(label):
            return None
        looks = [self._look(frame_HWC, pad_box(box, growth, frame_HWC)) for growth in _GROWTHS]
        return np.asarray(np.median(np.stack(looks), axis=0), np.float32)

    def _look(self, frame_HWC: Frames, window: View) -> Probability:
        size = (_SELFIE_PX, _SELFIE_PX)
        crop = cv2.resize(frame_HWC[window], size, interpolation=cv2.INTER_LINEAR)
        found = run_tflite(self._selfie, crop.astype(np.float32) / np.float32(255.0))
        return _in_frame(found[..., 0], window, frame_HWC)


class DeeplabSegmenter(SelfieSegmenter):
    """Segments as `selfie`, but animals and vehicles of a normal size by DeepLab.

    It costs four times as much as GrabCut, and neither is better by itself: an option.
    """

    name = "deeplab"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("selfie_segmentation", "deeplab_v3")

    def setup(self) -> None:
        """Load both networks; errors are those of `SelfieSegmenter`."""
        super().setup()
        name = "deeplab_v3"
        self._deeplab = tflite_interpreter(
            weights.locate(name),
            weight=name,
            inputs=[(1, _DEEPLAB_PX, _DEEPLAB_PX, 3)],
            outputs=[(1, _DEEPLAB_PX, _DEEPLAB_PX)],
        )

    def _probability(self, frame_HWC: Frames, box: Box, label: str) -> Probability | None:
        window = pad_box(box, _GROWTHS[1], frame_HWC)
        if label not in _VOC.split() or min(_sides(box)) < _LEAST_SIDE_PX:
            return super()._probability(frame_HWC, box, label)
        size = (_DEEPLAB_PX, _DEEPLAB_PX)
        classes = run_tflite(self._deeplab, cv2.resize(frame_HWC[window], size))
        return _in_frame(
            (classes == _VOC.split().index(label)).astype(np.float32), window, frame_HWC
        )


def refined(frame_HWC: Frames, probability_HW: Probability, box: Box) -> Mask:
    """Refine probabilities to a mask (H, W): unsure pixels are decided by their colours."""
    window = pad_box(box, _GROWTHS[-1], frame_HWC)
    crop, likely = frame_HWC[window], probability_HW[window]
    scale = min(1.0, _REFINED_PX / max(crop.shape[:2]))
    size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    crop, likely = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (crop, likely))
    labels = np.where(likely > _EVEN_ODDS, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[likely > _SURE] = cv2.GC_FGD
    labels[likely < 1.0 - _SURE] = cv2.GC_BGD
    cut = grab_cut(crop, labels)
    if not cut.any():
        cut = likely > _EVEN_ODDS
    found = _in_frame(cut.astype(np.float32), window, frame_HWC)
    return _large_parts(found > _EVEN_ODDS)


def _large_parts(mask_HW: Mask) -> Mask:
    """Without specks: a table or an arm may cut a person in parts, but no part is tiny."""
    _, labels_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.asarray((areas >= max(1.0, _LEAST_PART * areas.max()))[labels_HW])


def _in_frame(values: Probability, window: View, frame_HWC: Frames) -> Probability:
    """What a network says of a window, at its place in the frame (H, W); 0 elsewhere."""
    whole = np.zeros(frame_HWC.shape[:2], np.float32)
    rows, columns = window
    size = (columns.stop - columns.start, rows.stop - rows.start)
    whole[window] = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    return whole


def _sides(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _area(box: Box) -> float:
    width, height = _sides(box)
    return width * height
