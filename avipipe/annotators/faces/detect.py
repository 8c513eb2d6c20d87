"""Finds faces with YuNet.

Source: Wu et al., YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research,
2023.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.reading import pull_again, reading

Points = npt.NDArray[np.float64]

SURE_SCORE = 0.9
"""Score of a sure face: OpenCV's threshold for YuNet. Faces of dogs have reached 0.88."""
_LEAST_SCORE = 0.6
"""Least score that is told. A choice: a face that turns away keeps its track, which must be sure
once."""
# OpenCV's defaults for YuNet: overlap of two boxes of one face, and boxes before that is asked.
_MAX_OVERLAP = 0.3
_MAX_FACES = 5000
_LEAST_SIDE_PX = 8.0
"""Side of a face in the frame's pixels; YuNet was made for faces from about 10 px."""
_MAX_SHORT_SIDE_PX = 360
"""A larger frame is shrunk to this: a face that fills it is still about the 300 px that YuNet
knows."""
_MAX_TILT = 2.0
"""Distance from eyes to mouth over its height: two is a tilt of 60 degrees."""
_MAX_MIRRORED = 0.25
"""Over the distance from eyes to mouth: how far the right eye may be on the wrong side, as in a
profile. A choice."""


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face in one frame.

    Attributes:
        box_4: (x0, y0, x1, y1) in pixels; it may reach beyond the frame.
        landmarks_52: (x, y) of the person's right eye, left eye, nose, right and left mouth corner.
        score: in [0, 1].
    """

    box_4: Points
    landmarks_52: Points
    score: float


class FaceDetector:
    """Face detector: YuNet in OpenCV, on one frame at a time.

    Args:
        path: of the ONNX model with free input size.
    Raises:
        WeightsError: it holds something else.
    """

    def __init__(self, path: Path) -> None:
        level = cv2.utils.logging.getLogLevel()
        # OpenCV 5 warns that its new engine has no targets, although none is asked for.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            with reading(path, "the network of YuNet", pull_again("yunet")):
                self._net = cv2.FaceDetectorYN.create(
                    str(path), "", (320, 320), _LEAST_SCORE, _MAX_OVERLAP, _MAX_FACES
                )
        finally:
            cv2.utils.logging.setLogLevel(level)

    def detect(self, frame_HWC: Frames) -> list[Face]:
        """Detect faces in an RGB frame, best first; unsure ones (from 0.6 on) among them.

        A larger frame is looked at with a short side of 360 px, which shows faces from 8 px to
        the largest that YuNet knows (300 px).
        """
        height, width = frame_HWC.shape[:2]
        scale = min(1.0, _MAX_SHORT_SIDE_PX / min(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA)
        self._net.setInputSize(size)
        _, found_N15 = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if found_N15 is None:
            return []
        back = np.array([width / size[0], height / size[1]])
        faces = [_face(row_15.astype(np.float64), back) for row_15 in found_N15]
        return sorted(filter(is_plausible, faces), key=lambda face: -face.score)


def _face(row_15: Points, back: Points) -> Face:
    corner, size = row_15[:2] * back, row_15[2:4] * back
    landmarks_52 = row_15[4:14].reshape(5, 2) * back
    return Face(np.concatenate([corner, corner + size]), landmarks_52, float(row_15[14]))


def is_plausible(face: Face) -> bool:
    """Whether the landmarks lie as in a face that is upright, or tilted by up to about 60 degrees.

    The nose is between eyes and mouth, and the right eye on the right side, but for a profile,
    where the eyes may coincide.
    """
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks_52
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    across, down = mouth - eyes
    length = float(np.hypot(across, down))
    if min(face.box_4[2:] - face.box_4[:2]) < _LEAST_SIDE_PX or down * _MAX_TILT <= length:
        return False
    nose_down = float((nose - eyes) @ (mouth - eyes)) / length**2
    apart_x, apart_y = left_eye - right_eye
    apart = (apart_x * down - apart_y * across) / length**2
    return 0.0 < nose_down < 1.0 and apart > -_MAX_MIRRORED
