"""CLIP: embeddings of frames and of words, of which the scores in `metrics.clip_score` are made."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.loading import device, load, load_model
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import require_frames

if TYPE_CHECKING:
    from torch import Tensor


class ClipVitB32(Weighted):
    """CLIP ViT-B/32 of OpenAI.

    Source: Radford et al., Learning transferable visual models (ICML 2021), as transformers has
    it; frames are prepared by Pillow, as in OpenAI's own code. What torchvision makes of them
    differs in the last grey level.
    """

    name = "clip_vitb32"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("clip_vitb32",)
    packages = ("torch", "transformers")

    def setup(self) -> None:
        """Load the model, once.

        Raises:
            WeightsError: it is missing, corrupted, or not what transformers can load.
        """
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        (weight,) = self.needs
        self._model = load_model(weight, CLIPModel)
        self._processor = load(weight, CLIPImageProcessorPil.from_pretrained)
        self._tokenizer = load(weight, CLIPTokenizer.from_pretrained)

    def images(self, frames: Frames | Sequence[Frames]) -> npt.NDArray[np.float32]:
        """Embeddings (T, D) of frames, uint8 RGB, whole or as `local_views` show them.

        The short side becomes 224 and the middle is cut out: of a wide frame the sides are not
        seen, nor is an edit that is there.

        Raises:
            Undefined: no frames.
        """
        from avipipe.evaluate.extractors.networks.running import BATCH_FRAMES, exact

        require_frames(frames, 1)
        found = []
        for start in range(0, len(frames), BATCH_FRAMES):
            pictures = self.shown(frames[start : start + BATCH_FRAMES]).to(device())
            with exact():
                output = self._model.get_image_features(pictures)
            found.append(output.pooler_output.float().cpu().numpy())
        return np.concatenate(found)

    def texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings (K, D) of texts."""
        from avipipe.evaluate.extractors.networks.running import exact

        tokens = {name: each.to(device()) for name, each in self.tokens(texts).items()}
        with exact():
            output = self._model.get_text_features(**tokens)
        return np.asarray(output.pooler_output.float().cpu().numpy())

    def shown(self, frames: Frames | Sequence[Frames]) -> "Tensor":
        """What the network sees of frames: (T, 3, 224, 224)."""
        pixels: Tensor = self._processor(
            list(frames), return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"]
        return pixels

    def tokens(self, texts: Sequence[str]) -> Mapping[str, "Tensor"]:
        """The tokens of texts (K, N), and which are more than padding.

        A text that is longer than the 77 tokens of the model is cut before its end token, which
        stays: CLIP reads the meaning there, and torchmetrics 1.9 cuts it off.
        """
        limit = self._model.config.text_config.max_position_embeddings
        found: Mapping[str, Tensor] = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        return found


class ClipVitL14(ClipVitB32):
    """CLIP ViT-L/14 of OpenAI, which FiVE and FlowAnchor use throughout."""

    name = "clip_vitl14"
    needs: ClassVar[tuple[str, ...]] = ("clip_vitl14",)
