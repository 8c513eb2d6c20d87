"""Captions and edits by Qwen3-VL in this process."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import cv2
import numpy as np

from avipipe.annotators.base import Frames, SceneCaption
from avipipe.annotators.full.caption_prompt import NUM_FRAMES, question
from avipipe.annotators.full.caption_reply import MAX_TOKENS, request_caption
from avipipe.annotators.full.instruct_prompt import edit_question
from avipipe.annotators.full.instruct_reply import MAX_EDIT_TOKENS, request_edits
from avipipe.annotators.instruct.base import ProposedEdit
from avipipe.annotators.loading import device, load, load_model
from avipipe.annotators.weighted import Weighted
from avipipe.errors import AnnotatorError, FailKind
from avipipe.manifests.edits import EditKind
from avipipe.services.reply import Message

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Qwen3Vl(Weighted):
    """Qwen3-VL, decoding greedily; bfloat16 on a GPU, float32 without one.

    Source: Bai et al., "Qwen3-VL Technical Report" (arXiv 2511.21631); any checkpoint that
    `AutoModelForImageTextToText` loads and whose chat template takes images will do.
    """

    name = "qwen3_vl"
    gpu = True
    num_frames = NUM_FRAMES
    role: ClassVar[str]
    max_tokens: ClassVar[int]
    """Most tokens of a reply."""
    needs: ClassVar[tuple[str, ...]] = ("qwen3_vl",)
    packages = ("torch", "transformers")

    def setup(self) -> None:
        """Load model and processor, once.

        Raises:
            WeightsError: missing, corrupted, not whole, or not what transformers can load.
        """
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

        (weight,) = self.needs
        dtype = torch.bfloat16 if device() == "cuda" else torch.float32
        self._processor: Any = load(weight, AutoProcessor.from_pretrained, padding_side="left")
        model: Any = load_model(weight, AutoModelForImageTextToText, dtype=dtype)
        # The checkpoint's own settings sample; greedy decoding gives the same words each time.
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            max_new_tokens=self.max_tokens,
            eos_token_id=model.generation_config.eos_token_id,
            pad_token_id=self._processor.tokenizer.pad_token_id,
        )
        self._model, self._device = model, model.device

    def _asked(self, frames_THWC: Frames, ask: Callable[[Frames], T]) -> T:
        """Ask about frames; what does not fit into memory is tried once more at half the size.

        Raises:
            AnnotatorError: as `ask`, or (`out_of_memory`) the model lacks room.
        """
        import torch

        try:
            return ask(frames_THWC)
        except torch.OutOfMemoryError:
            _log.warning("out of memory: asking for the %s at half the size", self.role)
        # Only here has the failed attempt let go of what it held.
        torch.cuda.empty_cache()
        try:
            return ask(_halved(frames_THWC))
        except torch.OutOfMemoryError as error:
            raise AnnotatorError(
                FailKind.OUT_OF_MEMORY,
                f"{len(frames_THWC)} frames do not fit into GPU memory beside the model, not even "
                f"at half the size; lower stages.{self.role}.height_px, give the stage a larger "
                f"share of the GPU, or choose annotators.{self.role}=endpoint",
            ) from error

    def _reply(self, messages: Sequence[Message]) -> str:
        import torch

        inputs = self._inputs(messages)
        with torch.inference_mode():
            output = self._model.generate(**inputs)
        new = output[:, inputs["input_ids"].shape[1] :]
        return str(self._processor.batch_decode(new, skip_special_tokens=True)[0])

    def _inputs(self, messages: Sequence[Message]) -> Any:
        """Tokens (1, L) and the pictures' patches, on the model's device."""
        return self._processor.apply_chat_template(
            [_to_chat(message) for message in messages],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self._device)


class Qwen3VlCaptioner(Qwen3Vl):
    """Captions by Qwen3-VL."""

    version = 1
    role = "caption"
    max_tokens = MAX_TOKENS

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> SceneCaption:
        """Caption a clip.

        Raises:
            AnnotatorError: the model's replies are unusable, or (`out_of_memory`) it lacks room.
        """
        return self._asked(
            frames_THWC,
            lambda seen: request_caption(self._reply, question(seen, evidence=evidence)),
        )


class Qwen3VlInstructor(Qwen3Vl):
    """Edits by Qwen3-VL."""

    version = 1
    role = "instruct"
    max_tokens = MAX_EDIT_TOKENS

    def instruct(
        self,
        frames_THWC: Frames,
        *,
        evidence: Mapping[str, Any],
        kinds: Sequence[EditKind],
        seed: int,
    ) -> list[ProposedEdit]:
        """See `Instructor`. It decodes greedily, so nothing is drawn.

        Raises:
            AnnotatorError: the model's replies are unusable, or (`out_of_memory`) it lacks room.
        """
        return self._asked(
            frames_THWC,
            lambda seen: request_edits(
                self._reply,
                edit_question(seen, evidence=evidence, kinds=kinds),
                caption=evidence["caption"],
                kinds=kinds,
            ),
        )


def _to_chat(message: Message) -> dict[str, Any]:
    from PIL import Image

    parts = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": Image.fromarray(part)}
        for part in message.content
    ]
    return {"role": message.role, "content": parts}


def _halved(frames_THWC: Frames) -> Frames:
    return np.stack(
        [cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for f in frames_THWC]
    )
