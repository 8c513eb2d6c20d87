"""Language models in this process that hear: Qwen2.5-Omni, which sees as well, and Qwen2-Audio."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from avipipe.annotators.loading import device, load, load_model
from avipipe.annotators.signal import resample
from avipipe.annotators.weighted import Weighted
from avipipe.audio_agent.tools import Sound
from avipipe.services.reply import Message

MAX_TOKENS = 1024
"""Most tokens of a reply; a choice."""


class _AudioLm(Weighted):
    """Decodes greedily; bfloat16 on a GPU, float32 without one."""

    gpu = True
    cost_usd: float | None = 0.0
    name: ClassVar[str]
    sees: ClassVar[bool]
    _model_class: ClassVar[str]

    _model: Any = None

    def setup(self) -> None:
        """Load model and processor, once.

        Raises:
            WeightsError: missing, corrupted, or not what transformers can load.
        """
        if self._model is not None:
            return
        import torch
        import transformers

        (weight,) = self.needs
        self._processor = load(weight, transformers.AutoProcessor.from_pretrained)
        dtype = torch.bfloat16 if device() == "cuda" else torch.float32
        model = load_model(weight, getattr(transformers, self._model_class), dtype=dtype)
        # The checkpoint's own settings may sample; greedy decoding gives the same words each time.
        settings: Any = transformers.GenerationConfig
        model.generation_config = settings(
            do_sample=False,
            max_new_tokens=MAX_TOKENS,
            eos_token_id=self._processor.tokenizer.eos_token_id,
            pad_token_id=self._processor.tokenizer.pad_token_id,
        )
        self._model = model

    def reply(self, messages: Sequence[Message], *, schema: type[BaseModel]) -> str:
        """The model's reply as text; nothing holds it to the schema but the question."""
        import torch

        inputs = self._inputs(messages)
        with torch.inference_mode():
            output = self._model.generate(**inputs)
        new = output[:, inputs["input_ids"].shape[1] :]
        return str(self._processor.batch_decode(new, skip_special_tokens=True)[0])

    def _inputs(self, messages: Sequence[Message]) -> Any:
        """Tokens (1, L), and the features of sounds and pictures, on the model's device."""
        from PIL import Image

        parts = [part for message in messages for part in message.content]
        rate_hz = self._processor.feature_extractor.sampling_rate
        sounds = [
            resample(part.mono(), from_hz=part.sample_rate_hz, to_hz=rate_hz)
            for part in parts
            if isinstance(part, Sound)
        ]
        pictures = [Image.fromarray(part) for part in parts if isinstance(part, np.ndarray)]
        text = self._processor.apply_chat_template(
            [_to_chat(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
        given: dict[str, Any] = {"audio": sounds, "sampling_rate": rate_hz} if sounds else {}
        if pictures:
            given["images"] = pictures
        inputs = self._processor(text=[text], return_tensors="pt", padding=True, **given)
        return inputs.to(self._model.device, self._model.dtype)


class Qwen25Omni(_AudioLm):
    """The part of Qwen2.5-Omni that hears, sees and writes.

    Source: Xu et al., Qwen2.5-Omni technical report (arXiv 2503.20215), as transformers has it.
    """

    name = "qwen2_5_omni"
    sees = True
    needs = ("qwen2_5_omni",)
    _model_class = "Qwen2_5OmniThinkerForConditionalGeneration"


class Qwen2Audio(_AudioLm):
    """Hears up to 30 s of each sound, and sees nothing.

    Source: Chu et al., Qwen2-Audio technical report (arXiv 2407.10759), as transformers has it.
    """

    name = "qwen2_audio"
    sees = False
    needs = ("qwen2_audio",)
    _model_class = "Qwen2AudioForConditionalGeneration"


def _to_chat(message: Message) -> dict[str, Any]:
    """The message with a mark for each sound and picture; these go beside it."""
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, Sound):
            parts.append({"type": "audio", "audio": "", "audio_url": ""})
        elif isinstance(part, np.ndarray):
            parts.append({"type": "image", "image": ""})
        else:
            parts.append({"type": "text", "text": part})
    return {"role": message.role, "content": parts}
