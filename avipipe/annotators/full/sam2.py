"""Cuts the thing in a box out of a frame: SAM 2, the second half of Grounded-SAM.

Source: Ravi et al., SAM 2: Segment anything in images and videos (arXiv 2408.00714), as
transformers has it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from avipipe.annotators.base import Box, FrameMask, Frames, Mask
from avipipe.annotators.batching import run_in_batches
from avipipe.annotators.loading import load, load_model
from avipipe.annotators.reading import pull_again
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError

if TYPE_CHECKING:
    from torch import Tensor

_SURE_LOGIT = 10.0
"""What the official code takes for the logit of a pixel that a given mask holds."""


class Sam2Segmenter(Weighted):
    """Segments by SAM 2: the best of three masks for a box, and a rough silhouette if any."""

    name = "sam2"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("sam2",)
    packages = ("torch", "transformers")

    def setup(self) -> None:
        """Load the SAM 2 model, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        from transformers import Sam2Model, Sam2Processor

        (weight,) = self.needs
        self._processor: Any = load(weight, Sam2Processor.from_pretrained)
        self._model: Any = load_model(weight, Sam2Model)
        self._device = self._model.device

    def segment(
        self, frame_HWC: Frames, *, box: Box, rough_HW: Mask | None = None, label: str = ""
    ) -> FrameMask:
        """Segment the thing in `box`; the score is the overlap that the model predicts.

        Raises:
            AnnotatorError: no pixel of the frame is in the box, or the frame does not fit into
                memory.
        """
        height, width = frame_HWC.shape[:2]
        x0, x1 = (min(max(edge, 0.0), float(width)) for edge in (box[0], box[2]))
        y0, y1 = (min(max(edge, 0.0), float(height)) for edge in (box[1], box[3]))
        if not (x0 < x1 and y0 < y1):
            raise AnnotatorError(
                message=f"expected a box inside a {width}x{height} frame, got {box}"
            )

        def run(frames: Sequence[Frames]) -> list[FrameMask]:
            return [self._segment(frame, (x0, y0, x1, y1), rough_HW) for frame in frames]

        return run_in_batches(run, [frame_HWC], 1)[0]

    def _segment(self, frame_HWC: Frames, box: Box, rough_HW: Mask | None) -> FrameMask:
        import torch

        inputs = self._processor(
            images=[np.array(frame_HWC)],  # torch takes no read-only views
            input_boxes=[[list(box)]],
            return_tensors="pt",
            input_data_format="channels_last",
        ).to(self._device)
        with torch.inference_mode():
            outputs = self._model(
                pixel_values=inputs["pixel_values"],
                input_boxes=inputs["input_boxes"],
                input_masks=self._mask_prompt(rough_HW),
                multimask_output=True,
            )
        scores_K = outputs.iou_scores[0, 0].float().cpu()
        if not bool(scores_K.isfinite().all()):
            raise AnnotatorError(
                message=f"{self.name} gave no numbers for this frame. {pull_again(self.needs[0])}"
            )
        best = int(scores_K.argmax())
        masks_11HW = self._processor.post_process_masks(
            outputs.pred_masks[:, :, best : best + 1], [frame_HWC.shape[:2]], binarize=True
        )[0]
        mask_HW = np.asarray(masks_11HW[0, 0].cpu().numpy(), np.bool_)
        score = min(max(float(scores_K[best]), 0.0), 1.0) if mask_HW.any() else 0.0
        return FrameMask(mask_HW, score)

    def _mask_prompt(self, rough_HW: Mask | None) -> "Tensor | None":
        """Logits (1, 1, h, w): the model resizes them itself, stretched as it does the frame."""
        import torch

        if rough_HW is None or not rough_HW.any():
            return None
        logits_HW = np.where(rough_HW, _SURE_LOGIT, -_SURE_LOGIT).astype(np.float32)
        return torch.from_numpy(logits_HW)[None, None].to(self._device)
