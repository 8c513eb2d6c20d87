"""The classifying backend of a profile that has no names for looks."""

from collections.abc import Mapping, Sequence

import numpy as np

from avipipe.annotators.base import Frames, Heat


class NoClassifier:
    """Names nothing."""

    name = "none"
    version = 1
    height_px = 0

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def classify(self, crops: Sequence[Frames]) -> list[dict[str, float]]:
        """Nothing for each picture."""
        return [{} for _ in crops]

    def locate(self, frame_HWC: Frames, noun: str) -> Heat:
        """Nowhere."""
        return np.zeros(frame_HWC.shape[:2], np.float32)
