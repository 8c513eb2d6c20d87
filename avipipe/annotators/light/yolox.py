"""Finds things of COCO's 80 classes with YOLOX-nano.

Source: Ge et al., YOLOX: Exceeding YOLO series in 2021, arXiv 2107.08430;
Megvii-BaseDetection/YOLOX.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.coco import KINDS, NAMES
from avipipe.annotators.networks import onnx_session
from avipipe.annotators.tracking import Boxes

Scores = npt.NDArray[np.float64]

# The official network's input, the strides of its grids, and the grey that it was padded with.
_SIDE_PX = 416
_STRIDES_PX = (8, 16, 32)
_GREY = 114
_NUM_ANCHORS = sum((_SIDE_PX // stride) ** 2 for stride in _STRIDES_PX)
# Thresholds of the official demo: of a score, and of the overlap of two boxes of one thing.
_LEAST_SCORE = 0.1
_MAX_OVERLAP = 0.45


@dataclass(frozen=True, slots=True)
class FrameDetections:
    """Detections in one frame, best first.

    Attributes:
        boxes_N4: in pixels, inside the frame.
        scores_NK: of every class of COCO, in [0, 1].
    """

    boxes_N4: Boxes
    scores_NK: Scores


class YoloxNano:
    """The YOLOX-nano network, on one frame at a time: its input has a fixed size.

    Args:
        path: of the ONNX model.
    Raises:
        WeightsError: the file is no such network.
        ImportError: onnxruntime is not installed (extra `light`).
    """

    def __init__(self, path: Path) -> None:
        self._session = onnx_session(
            path,
            weight="yolox_nano",
            inputs=[(1, 3, _SIDE_PX, _SIDE_PX)],
            outputs=[(1, _NUM_ANCHORS, 5 + len(NAMES))],
        )
        self._centres_A2, self._strides_A1 = _anchors()

    def look(self, frame_HWC: Frames) -> FrameDetections:
        """Detect things in an RGB frame of any size; weak ones (from 0.1 on) among them.

        Of boxes of one kind of thing (animals, vehicles, …) that overlap by 0.45 or more the best
        stays, so a dog that may be a cat is one thing with two scores.
        """
        height, width = frame_HWC.shape[:2]
        scale = _SIDE_PX / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        canvas = np.full((_SIDE_PX, _SIDE_PX, 3), _GREY, np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA)
        planes = canvas[..., ::-1].transpose(2, 0, 1).astype(np.float32)
        (found_AK,) = self._session.run(None, {"images": planes[None]})[0].astype(np.float64)
        centres_A2 = (found_AK[:, :2] + self._centres_A2) * self._strides_A1
        halves_A2 = np.exp(found_AK[:, 2:4]) * self._strides_A1 / 2
        boxes_A4 = np.concatenate([centres_A2 - halves_A2, centres_A2 + halves_A2], axis=1)
        scores_AK = found_AK[:, 4:5] * found_AK[:, 5:]
        limits_4 = np.array([width, height, width, height])
        boxes_A4 = np.clip(boxes_A4 / np.tile([size[0] / width, size[1] / height], 2), 0, limits_4)
        kept = _distinct(boxes_A4, scores_AK)
        return FrameDetections(boxes_A4[kept], scores_AK[kept])


def _anchors() -> tuple[Boxes, Scores]:
    """Corner of the cell of each prediction, in cells (A, 2), and the size of one (A, 1)."""
    corners, strides = [], []
    for stride in _STRIDES_PX:
        cells = _SIDE_PX // stride
        rows, columns = np.divmod(np.arange(cells * cells), cells)
        corners.append(np.stack([columns, rows], axis=1).astype(np.float64))
        strides.append(np.full((cells * cells, 1), float(stride)))
    return np.concatenate(corners), np.concatenate(strides)


def _distinct(boxes_A4: Boxes, scores_AK: Scores) -> npt.NDArray[np.int64]:
    """Numbers of the boxes that stay, best first."""
    best_A = scores_AK.max(axis=1)
    sized_A = (boxes_A4[:, 2:] - boxes_A4[:, :2] >= 1.0).all(axis=1)
    (likely,) = np.nonzero((best_A >= _LEAST_SCORE) & sized_A)
    corners_N4 = boxes_A4[likely].copy()
    corners_N4[:, 2:] -= corners_N4[:, :2]
    kinds = np.array(KINDS)[scores_AK[likely].argmax(axis=1)]
    kept = cv2.dnn.NMSBoxesBatched(
        corners_N4.tolist(), best_A[likely].tolist(), kinds.tolist(), _LEAST_SCORE, _MAX_OVERLAP
    )
    numbers = likely[np.asarray(kept, np.int64).reshape(-1)]
    return numbers[np.argsort(-best_A[numbers], kind="stable")]
