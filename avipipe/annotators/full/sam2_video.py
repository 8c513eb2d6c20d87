"""Carries a mask through a clip with SAM 2, whose memory is the seed and the newest frames.

Source: Ravi et al., SAM 2: Segment anything in images and videos (arXiv 2408.00714), as
transformers has it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from avipipe.annotators.base import Frames, Mask, PropagatedMasks
from avipipe.annotators.batching import run_in_batches
from avipipe.annotators.both_ways import both_ways
from avipipe.annotators.loading import device, load, load_model
from avipipe.annotators.reading import pull_again
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError

_OBJECT = 1
"""Number of the one object in a session."""


class Sam2VideoPropagator(Weighted):
    """Propagates by SAM 2, both ways from the seed frame.

    Frames are streamed to it one at a time, and what it cannot read any more is dropped, as a
    session would keep every frame and every output.
    """

    name = "sam2_video"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("sam2",)
    packages = ("torch", "transformers")

    def setup(self) -> None:
        """Load the SAM 2 video model, once.

        Raises:
            WeightsError: it is missing, corrupted or not whole.
        """
        import torch
        from transformers import Sam2VideoModel, Sam2VideoProcessor

        (weight,) = self.needs
        dtype = torch.bfloat16 if device() == "cuda" else torch.float32
        self._processor: Any = load(weight, Sam2VideoProcessor.from_pretrained)
        self._model: Any = load_model(weight, Sam2VideoModel, dtype=dtype)

    def propagate(
        self, frames_THWC: Frames, *, seed_frame: int, seed_mask_HW: Mask
    ) -> PropagatedMasks:
        """Carry the seed mask to every frame; see `both_ways`.

        The quality of a frame is the mean lead of the instance over the background in the pixels
        of its mask, as a difference of probabilities; 0 in frames without a mask.

        Raises:
            AnnotatorError: the seed does not fit the frames; a frame does not fit into memory;
                the network gives no numbers.
        """

        def run(seeds: Sequence[int]) -> list[PropagatedMasks]:
            start = partial(_Follower, self._model, self._processor)
            return [
                both_ways(frames_THWC, seed_frame=seed, seed_mask_HW=seed_mask_HW, start=start)
                for seed in seeds
            ]

        return run_in_batches(run, [seed_frame], 1)[0]


class _Follower:
    """One way through the clip: a session of the model, whose frame 0 is the seed frame."""

    def __init__(self, model: Any, processor: Any, frame_HWC: Frames, mask_HW: Mask) -> None:
        self._model, self._processor = model, processor
        self._session = processor.init_video_session(
            inference_device=model.device,
            inference_state_device="cpu",
            video_storage_device="cpu",
            dtype=model.dtype,
        )
        processor.add_inputs_to_inference_session(
            self._session, frame_idx=0, obj_ids=_OBJECT, input_masks=mask_HW
        )
        self._memory_frames = max(
            model.config.num_maskmem, model.config.max_object_pointers_in_encoder
        )
        self._frame = 0
        self._run(frame_HWC)

    def step(self, frame_HWC: Frames) -> tuple[Mask, float]:
        """Go on to the next frame; the mask has the size of the frame."""
        self._frame += 1
        output = self._run(frame_HWC)
        logits_11HW = self._processor.post_process_masks(
            [output.pred_masks], [frame_HWC.shape[:2]], binarize=False
        )[0]
        logits_HW = logits_11HW[0, 0].float().cpu().numpy()
        # A score that is no number counts as "not there" in the model, and would go unnoticed.
        if not (np.isfinite(logits_HW).all() and bool(output.object_score_logits.isfinite().all())):
            raise AnnotatorError(
                message=f"sam2_video gave no numbers for this frame. {pull_again('sam2')}"
            )
        mask_HW = np.asarray(logits_HW > 0)
        if not mask_HW.any():
            return mask_HW, 0.0
        # The lead p - (1 - p) of the instance, for p the sigmoid of the logit.
        return mask_HW, float(np.tanh(logits_HW[mask_HW] / 2).mean())

    def _run(self, frame_HWC: Frames) -> Any:
        """What the model gives for the next frame: mask logits (1, 1, h, w) among others."""
        import torch

        pixels = self._processor(
            images=frame_HWC, return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"]
        with torch.inference_mode():
            output = self._model(
                inference_session=self._session, frame=pixels, frame_idx=self._frame
            )
        self._forget()
        return output

    def _forget(self) -> None:
        """Drop the frame, and the output that is too old to be read for the next one."""
        self._session.processed_frames.clear()
        outputs = self._session.output_dict_per_obj[0]["non_cond_frame_outputs"]
        outputs.pop(self._frame + 1 - self._memory_frames, None)
