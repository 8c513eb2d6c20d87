"""What the annotators on OpenCV have in common."""

from collections.abc import Mapping

import cv2


class OpenCvAnnotator:
    """Base of annotators on OpenCV: no weights, and one thread each."""

    @property
    def weights(self) -> Mapping[str, str]:
        return {}

    def setup(self) -> None:
        cv2.setNumThreads(1)
