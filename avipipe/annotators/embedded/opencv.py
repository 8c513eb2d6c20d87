"""What the annotators on OpenCV have in common."""

from collections.abc import Mapping

import cv2


class OpenCvAnnotator:
    """Has no weights, and keeps to one thread: the executor runs as many workers as fit."""

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        cv2.setNumThreads(1)
