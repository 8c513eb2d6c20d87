"""Names what a picture shows, and where, with MobileNetV2 on ImageNet's thousand classes.

Source: Sandler et al., MobileNetV2, CVPR 2018; class activation maps after Zhou et al., Learning
deep features for discriminative localization, CVPR 2016.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from avipipe import weights
from avipipe.annotators.base import Frames, Heat
from avipipe.annotators.match.table import imagenet_nouns
from avipipe.annotators.networks import run_tflite, tflite_interpreter
from avipipe.annotators.views import tiles
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError, WeightsError

Scores = npt.NDArray[np.float64]

# Input, classes, and cells and channels of the last features of the official network.
_SIDE_PX = 224
_NUM_CLASSES = 1001
_CELLS = 7
_CHANNELS = 1280
_LEAST_SCORE = 0.05
"""Score from which a noun is told; less is the noise of a thousand classes. A choice."""


class MobilenetClassifier(Weighted):
    """Classifies by MobileNetV2: scores of the nouns that can make a sound, out of all classes.

    Its own classes are finer than the nouns: all breeds together are a dog.
    """

    name = "mobilenet"
    version = 1
    needs: ClassVar[tuple[str, ...]] = ("mobilenet_v2",)
    packages = ("ai-edge-litert", "onnxruntime")
    height_px = 360

    def __init__(self) -> None:
        self._net: Any = None

    def setup(self) -> None:
        """Load the MobileNetV2 network, once.

        Raises:
            WeightsError: it is missing, corrupted or another one.
            ImportError: ai-edge-litert is not installed (extra `light`).
        """
        cv2.setNumThreads(1)
        path = weights.locate(self.needs[0])
        net = tflite_interpreter(
            path,
            weight=self.needs[0],
            inputs=[(1, _SIDE_PX, _SIDE_PX, 3)],
            outputs=[(1, _NUM_CLASSES)],
            keep_all=True,
        )
        self._net = net
        output = net.get_output_details()[0]["index"]
        tensors = {
            tuple(tensor["shape"].tolist()): tensor
            for tensor in net.get_tensor_details()
            if tensor["index"] != output
        }
        try:
            self._logits = tensors[1, _NUM_CLASSES]
            self._features = tensors[1, _CELLS, _CELLS, _CHANNELS]
            readout = tensors[_NUM_CLASSES, 1, 1, _CHANNELS]
        except KeyError as error:
            raise WeightsError(
                f"{path}: expected a MobileNetV2 with a tensor of shape {error}; run: avipipe "
                f"weights pull {self.needs[0]}"
            ) from error
        readout_KC = _real(net, readout).reshape(_NUM_CLASSES, _CHANNELS)
        self._readout_KC = readout_KC - readout_KC.mean(axis=0)

    def classify(self, crops: Sequence[Frames]) -> list[dict[str, float]]:
        """Classify each picture (h, w, 3): noun -> score from 0.05 on, the best first.

        Raises:
            AnnotatorError: a picture is empty.
        """
        return [_by_noun(self._scores(crop)) for crop in crops]

    def locate(self, frame_HWC: Frames, noun: str) -> Heat:
        """Class activation map of a noun (H, W): 1 at most, all zero where there is no evidence.

        Seen in seven parts of the picture, each counting by how much it shows the noun.

        Raises:
            AnnotatorError: the picture is empty.
        """
        numbers = [number for number, name in imagenet_nouns().items() if name == noun]
        heat_HW, seen_HW = (np.zeros(frame_HWC.shape[:2], np.float32) for _ in range(2))
        if not numbers:
            return heat_HW
        for part in tiles(frame_HWC):
            scores_K = self._scores(frame_HWC[part])
            likeliest = max(numbers, key=lambda number: float(scores_K[number]))
            features = _real(self._net, self._features)[0]
            map_77 = np.maximum(features @ self._readout_KC[likeliest], 0.0)
            size = (part[1].stop - part[1].start, part[0].stop - part[0].start)
            found_HW = cv2.resize(map_77, size, interpolation=cv2.INTER_LINEAR)
            heat_HW[part] += float(scores_K[numbers].sum()) * found_HW
            seen_HW[part] += 1.0
        heat_HW /= seen_HW
        most = float(heat_HW.max())
        return heat_HW / most if most > 0 else heat_HW

    def _scores(self, crop_HWC: Frames) -> Scores:
        """Of every class (K,), from the logits: the network's own output has 8 bits."""
        if min(crop_HWC.shape[:2]) == 0:
            raise AnnotatorError(message=f"expected a picture, got one of {crop_HWC.shape[:2]}")
        size = (_SIDE_PX, _SIDE_PX)
        run_tflite(self._net, cv2.resize(crop_HWC, size, interpolation=cv2.INTER_AREA))
        logits_K = _real(self._net, self._logits)[0]
        odds_K = np.exp(logits_K - logits_K.max())
        return np.asarray(odds_K / odds_K.sum(), np.float64)


def _by_noun(scores_K: Scores) -> dict[str, float]:
    total: dict[str, float] = {}
    for number, noun in imagenet_nouns().items():
        total[noun] = total.get(noun, 0.0) + float(scores_K[number])
    likely = {noun: score for noun, score in total.items() if score >= _LEAST_SCORE}
    return dict(sorted(likely.items(), key=lambda item: -item[1]))


def _real(net: Any, tensor: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """A quantised tensor as the numbers that it stands for."""
    scale, zero = tensor["quantization"]
    stored = net.get_tensor(tensor["index"])
    return np.asarray(scale * (stored.astype(np.float32) - zero), np.float32)
