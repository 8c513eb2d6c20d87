"""Boxes what COCO has no name for by what makes an ImageNet classifier say so."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import cv2
import numpy as np

from avipipe.annotators.base import Detection, Frames, Heat
from avipipe.annotators.light.mobilenet import MobilenetClassifier
from avipipe.annotators.light.things import YoloxDetector
from avipipe.annotators.light.yolox import FrameDetections
from avipipe.annotators.match.table import things_named
from avipipe.annotators.views import tiles

_SURE_SCORE = 0.3
"""Score of a noun, in the part of the frame that shows it best, from which it is boxed; a
choice."""
_WARM = 0.5
"""Of the map's largest value: what is as warm belongs to the thing. A choice."""


class ActivationDetector(YoloxDetector):
    """Detects as `yolox` does, and ImageNet's classes by class activation.

    A class activation map is coarse: it shows the part that tells what the thing is, so the rough
    silhouette is a place to begin from, not an outline.
    """

    name = "activation"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("yolox_nano", "mobilenet_v2")

    def __init__(self) -> None:
        super().__init__()
        self._classifier = MobilenetClassifier()

    def setup(self) -> None:
        """Load both networks; errors are those of their own backends."""
        super().setup()
        self._classifier.setup()

    def _first_named(
        self,
        looked: Mapping[int, Frames],
        sights: Mapping[int, FrameDetections],
        prompts: Sequence[str],
    ) -> list[Detection]:
        classes: dict[int, dict[str, float]] = {}
        for prompt in prompts:
            if found := super()._first_named(looked, sights, [prompt]):
                return found
            classes = classes or {n: self._best_scores(frame) for n, frame in looked.items()}
            names = things_named(prompt)
            for frame, scores in classes.items():
                noun = max(names & scores.keys(), key=scores.__getitem__, default=None)
                if noun is not None and scores[noun] >= _SURE_SCORE:
                    heat_HW = self._classifier.locate(looked[frame], noun)
                    found.append(_detection(frame, heat_HW, noun, scores[noun]))
            if found:
                return found
        return []

    def _best_scores(self, frame_HWC: Frames) -> dict[str, float]:
        """Noun -> its score in that part of the frame which shows it best."""
        best: dict[str, float] = {}
        views = [frame_HWC[part] for part in tiles(frame_HWC)]
        for scores in self._classifier.classify(views):
            for noun, score in scores.items():
                best[noun] = max(best.get(noun, 0.0), score)
        return best


def _detection(frame: int, heat_HW: Heat, noun: str, score: float) -> Detection:
    """The warm place around the warmest."""
    _, labels_HW = cv2.connectedComponents((heat_HW >= _WARM).astype(np.uint8))
    rough_HW = labels_HW == labels_HW.flat[int(heat_HW.argmax())]
    x, y, width, height = cv2.boundingRect(rough_HW.astype(np.uint8))
    box = float(x), float(y), float(x + width), float(y + height)
    return Detection(frame, box, noun, score, rough_HW)
