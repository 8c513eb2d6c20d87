"""Finds things by their names: Grounding DINO, the first half of Grounded-SAM.

Source: Liu et al., Grounding DINO, ECCV 2024 (arXiv 2303.05499), and Zhao et al., MM-Grounding-DINO
(arXiv 2401.02361), as transformers has them.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from avipipe.annotators.base import ActiveSpeakers, Detection, Frames, Localization
from avipipe.annotators.batching import run_in_batches
from avipipe.annotators.key_frames import key_frames
from avipipe.annotators.loading import load, load_model
from avipipe.annotators.sounding import sounding_first
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError

if TYPE_CHECKING:
    from torch import Tensor

BOX_THRESHOLD = 0.30
"""Score of a box's best token from which it is told: that of the paper's demo."""
TEXT_THRESHOLD = 0.25
"""Score of its own label's best token, the same."""

NMS_IOU = 0.7
"""Overlap from which two boxes of a label are one thing; a choice."""
MAX_DETECTIONS = 40
"""Boxes of a frame at most; a choice, as of a crowd the best will do."""
_GPU_BATCH_SIZE = 4
"""Frames at a time on a GPU; a choice for memory."""
_SEPARATOR = "."


class GroundingDinoDetector(Weighted):
    """Detects what the prompts name, in the first, middle, last and sharpest frame."""

    name = "grounding_dino"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("grounding_dino",)
    packages = ("torch", "torchvision", "transformers")

    def setup(self) -> None:
        """Load the Grounding DINO model, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        (weight,) = self.needs
        processors: Any = AutoProcessor
        self._processor = load(weight, processors.from_pretrained)
        self._model = load_model(weight, AutoModelForZeroShotObjectDetection)
        self._device = self._model.device
        # On a CPU a batch is no faster by frame, and four 720p frames take 7 GB instead of 3.
        self.batch_size = _GPU_BATCH_SIZE if self._device.type == "cuda" else 1

    def detect(
        self,
        frames_THWC: Frames,
        *,
        fps: Fraction,
        prompts: Sequence[str],
        localization: Localization | None,
        speakers: ActiveSpeakers | None = None,
    ) -> list[Detection]:
        """Detect what the prompts name, the thing that sounds first (`sounding_first`).

        `label` is the prompt as given, `score` the probability of its likeliest word. Prompts that
        differ only in case, spaces and dots are one label, named as the first of them.

        Raises:
            AnnotatorError: no frames, more prompts than the model can read, no numbers from the
                model, or not even one frame fits into memory.
        """
        labels = _labels(prompts)
        if not labels:
            return []
        if not len(frames_THWC):
            raise AnnotatorError(message="expected at least one frame, got none")
        frames = key_frames(frames_THWC)
        found = run_in_batches(
            lambda batch: self._detect([frames_THWC[frame] for frame in batch], list(labels)),
            frames,
            self.batch_size,
        )
        names = list(labels.values())
        height, width = frames_THWC.shape[1:3]
        detections = [
            Detection(frame, (x0 * width, y0 * height, x1 * width, y1 * height), names[n], score)
            for frame, boxes in zip(frames, found, strict=True)
            for (x0, y0, x1, y1), n, score in boxes
        ]
        return sounding_first(detections, localization, speakers)

    def _detect(
        self, frames: Sequence[Frames], texts: list[str]
    ) -> list[list[tuple[list[float], int, float]]]:
        import torch

        inputs = self._processor(
            images=[np.array(frame_HWC) for frame_HWC in frames],  # torch takes no read-only views
            text=[texts] * len(frames),
            return_tensors="pt",
            input_data_format="channels_last",
        ).to(self._device)
        spans = self._spans(inputs["input_ids"][0].tolist(), len(texts))
        with torch.inference_mode():
            outputs = self._model(**inputs)
        length = inputs["input_ids"].shape[1]
        prob_BQL = outputs.logits[..., :length].sigmoid().float().cpu()
        if not bool(prob_BQL.isfinite().all()):
            raise AnnotatorError(
                message=f"{self.name} gave no numbers for this clip; delete its weights and "
                f"run: avipipe weights pull {self.needs[0]}"
            )
        boxes_BQ4 = outputs.pred_boxes.float().cpu()
        return [
            labelled_boxes(prob_QL, boxes_Q4, spans)
            for prob_QL, boxes_Q4 in zip(prob_BQL, boxes_BQ4, strict=True)
        ]

    def _spans(self, input_ids: Sequence[int], num_labels: int) -> list[slice]:
        limit = self._model.config.max_text_len
        if len(input_ids) > limit:
            raise AnnotatorError(
                message=f"{num_labels} prompts make {len(input_ids)} tokens, and {self.name} reads "
                f"{limit}; give fewer or shorter prompts"
            )
        separator = self._processor.tokenizer.convert_tokens_to_ids(_SEPARATOR)
        spans = label_spans(input_ids, separator)
        assert len(spans) == num_labels, f"{len(spans)} spans for {num_labels} labels"
        return spans


class MmGroundingDinoDetector(GroundingDinoDetector):
    """Detects by MM-Grounding-DINO: the same network, trained better and on open data."""

    name = "mm_grounding_dino"
    needs: ClassVar[tuple[str, ...]] = ("mm_grounding_dino",)


def label_spans(input_ids: Sequence[int], separator: int) -> list[slice]:
    """Token spans of each label in `[CLS] a b . c . [SEP]`; a label may have none."""
    spans, start = [], 1
    for position, token in enumerate(input_ids):
        if token == separator:
            spans.append(slice(start, position))
            start = position + 1
    return spans


def labelled_boxes(
    prob_QL: "Tensor", boxes_Q4: "Tensor", spans: Sequence[slice]
) -> list[tuple[list[float], int, float]]:
    """The boxes of one frame, best first: (box, index of its label, score).

    A box belongs to the label with the likeliest token. Reading its phrase off all tokens above a
    threshold, as is usual, merges labels ("dog cat"), cuts them ("motor") or finds none.

    Args:
        prob_QL: of each query and token, in [0, 1].
        boxes_Q4: (centre x, centre y, width, height) as shares of the picture.
        spans: of each label, from `label_spans`.
    Returns:
        At most `MAX_DETECTIONS` with boxes (x0, y0, x1, y1) as shares of the picture, after
        non-maximum suppression within each label.
    """
    import torch
    from torchvision.ops import batched_nms, box_convert

    prob_QN = torch.stack(
        [
            prob_QL[:, span].amax(dim=1)
            if span.stop > span.start
            else prob_QL.new_zeros(len(prob_QL))
            for span in spans
        ],
        dim=1,
    )
    scores_Q, labels_Q = prob_QN.max(dim=1)
    boxes_Q4 = box_convert(boxes_Q4, "cxcywh", "xyxy").clamp(0.0, 1.0)
    keep_Q = (prob_QL.amax(dim=1) > BOX_THRESHOLD) & (scores_Q > TEXT_THRESHOLD)
    keep_Q &= (boxes_Q4[:, 2:] > boxes_Q4[:, :2]).all(dim=1)
    boxes_Q4, scores_Q, labels_Q = boxes_Q4[keep_Q], scores_Q[keep_Q], labels_Q[keep_Q]
    best = batched_nms(boxes_Q4, scores_Q, labels_Q, NMS_IOU)[:MAX_DETECTIONS]
    return list(
        zip(boxes_Q4[best].tolist(), labels_Q[best].tolist(), scores_Q[best].tolist(), strict=True)
    )


def _labels(prompts: Sequence[str]) -> dict[str, str]:
    """Text that the model reads -> the prompt it stands for.

    Dots and question marks end a label for the model, so none may be within one.
    """
    labels: dict[str, str] = {}
    for prompt in prompts:
        text = " ".join(prompt.lower().replace(_SEPARATOR, " ").replace("?", " ").split())
        if text:
            labels.setdefault(text, prompt)
    return labels
