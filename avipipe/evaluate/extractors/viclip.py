"""ViCLIP: an embedding of a video and of words in one space, for a score of whole videos.

T frames, D numbers of an embedding.

Source: Wang et al., InternVid (ICLR 2024), as VBench 0.1.5 asks it (overall_consistency.py).
"""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from avipipe.annotators.base import Frames
from avipipe.annotators.loading import device, load
from avipipe.annotators.weighted import Weighted
from avipipe.evaluate.metrics.undefined import require_frames

if TYPE_CHECKING:
    from torch import Tensor

Embedding = npt.NDArray[np.float32]

_SIZE_PX = 224
"""Side of what the network sees, which its places are for."""
# Mean and deviation of colours in [0, 1], by which CLIP was trained.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def middles(num_frames: int, num_taken: int) -> npt.NDArray[np.int64]:
    """The frame in the middle of each of equal parts; of too few, all, and the last one again.

    Source: VBench 0.1.5, utils.py (`get_frame_indices`, "middle").
    """
    edges = np.linspace(0, num_frames, min(num_taken, num_frames) + 1).astype(np.int64)
    found = (edges[:-1] + edges[1:] - 1) // 2
    return np.pad(found, (0, num_taken - len(found)), mode="edge")


class ViClipL14(Weighted):
    """ViCLIP ViT-L/14; its words are cut by CLIP's tokenizer, which lies with CLIP ViT-L/14."""

    name = "viclip"
    version = 1
    gpu = True
    needs: ClassVar[tuple[str, ...]] = ("viclip", "clip_vitl14")
    packages = ("torch", "torchvision", "transformers")

    def setup(self) -> None:
        """Load network and tokenizer, once.

        Raises:
            WeightsError: one is missing, corrupted or not whole.
        """
        from transformers import CLIPTokenizer

        from avipipe.evaluate.extractors.networks.viclip import load_viclip

        weight, words = self.needs
        self._network = load_viclip(weight)
        self._tokenizer = load(words, CLIPTokenizer.from_pretrained)

    def video(self, frames_THWC: Frames) -> Embedding:
        """The embedding (D,) of a video, of 8 of its frames.

        Args:
            frames_THWC: RGB, uint8.
        Raises:
            Undefined: no frames.
        """
        from avipipe.evaluate.extractors.networks.running import exact

        require_frames(frames_THWC, 1)
        taken = middles(len(frames_THWC), self._network.vision_encoder.num_frames)
        pictures_TCHW = self.shown(frames_THWC[taken]).to(device())
        with exact():
            found_1D = self._network.vision_encoder(pictures_TCHW.transpose(0, 1)[None])
        return np.asarray(found_1D[0].cpu().numpy())

    def text(self, text: str) -> Embedding:
        """The embedding (D,) of a text; one that is too long is cut before its end token."""
        import torch

        from avipipe.evaluate.extractors.networks.running import exact

        tower = self._network.text_encoder
        tokens = self._tokenizer(text, truncation=True, max_length=tower.num_tokens)["input_ids"]
        with exact():
            found_1D = tower(torch.tensor([tokens], device=device()))
        return np.asarray(found_1D[0].cpu().numpy())

    def shown(self, frames_THWC: Frames) -> "Tensor":
        """What the network sees of frames: short side 224 without antialias, the middle of it.

        In whole grey levels; (T, 3, 224, 224).

        Source: VBench 0.1.5, utils.py (`clip_transform`).
        """
        import torch
        from torchvision.transforms.v2 import InterpolationMode, functional

        # Of whole levels torchvision's second version makes others, by up to 29 in noise.
        pictures = torch.tensor(frames_THWC).permute(0, 3, 1, 2).float()
        pictures = functional.resize(
            pictures, [_SIZE_PX], InterpolationMode.BICUBIC, antialias=False
        )
        pictures = functional.center_crop(pictures, [_SIZE_PX, _SIZE_PX]).round().clamp(0, 255)
        coloured: Tensor = functional.normalize(pictures / 255, list(_MEAN), list(_STD))
        return coloured
