"""The classifying backend of a profile that has no names for looks."""

from collections.abc import Mapping, Sequence

import numpy as np

from avipipe.annotators.base import Frames, Heat


class NoClassifier:
    """Classifier that names nothing."""

    name = "none"
    version = 1
    height_px = 0

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def classify(self, crops: Sequence[Frames]) -> list[dict[str, float]]:
        """An empty mapping for each picture."""
        return [{} for _ in crops]

    def locate(self, frame_HWC: Frames, noun: str) -> Heat:
        """An empty map: all zero."""
        return np.zeros(frame_HWC.shape[:2], np.float32)
