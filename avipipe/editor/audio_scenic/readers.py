"""What reads for AudioScenic: CLAP for sound, Depth Anything for shapes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    ClapFeatureExtractor,
    ClapModel,
    CLIPTextModel,
    DepthAnythingForDepthEstimation,
)

from avipipe.annotators.base import HEARING_HZ, Frames, Wave
from avipipe.annotators.loading import read_model
from avipipe.annotators.signal import resample
from avipipe.editor.common.pretrained import read_part

# Mean and standard deviation of ImageNet's colours, by which its network sees.
_MEAN_RGB = (0.485, 0.456, 0.406)
_STD_RGB = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class SoundReader:
    """CLAP, which turns a sound into an embedding of its meaning."""

    model: Any
    extractor: Any

    @torch.no_grad()
    def meaning(self, wave_N: Wave) -> Tensor:
        """The embedding of a sound, (D,), of unit length, on the CPU.

        Args:
            wave_N: mono at 16 kHz; what is longer than CLAP's ten seconds is heard piece by piece.
        """
        wave_N = resample(wave_N, from_hz=HEARING_HZ, to_hz=self.extractor.sampling_rate)
        pieces = np.array_split(wave_N, -(-wave_N.size // self.extractor.nb_max_samples))
        inputs = self.extractor(
            pieces,
            truncation="rand_trunc",  # the kind that this CLAP was trained by; nothing is cut off
            sampling_rate=self.extractor.sampling_rate,
            return_tensors="pt",
        )
        features = inputs["input_features"].to(self.model.device, self.model.dtype)
        found_BD = self.model.get_audio_features(features).pooler_output
        return functional.normalize(found_BD.float(), dim=-1).mean(0).cpu()


@dataclass(frozen=True, slots=True)
class DepthReader:
    """Depth Anything, which tells how near things are."""

    model: Any

    @torch.no_grad()
    def shapes(self, frames_FHWC: Frames) -> Tensor:
        """How near each pixel is, (F, 3, H, W) in [0, 1] over all frames, on the CPU."""
        near = torch.cat([self._near(frame_HWC) for frame_HWC in frames_FHWC])
        lowest, highest = near.min(), near.max()
        # A video without any depth is as far as can be.
        shares = (near - lowest) / (highest - lowest).clamp_min(torch.finfo(near.dtype).tiny)
        return shares[:, None].expand(-1, 3, -1, -1)

    def _near(self, frame_HWC: Frames) -> Tensor:
        """(1, H, W)."""
        config, size = self.model.config, frame_HWC.shape[:2]
        patch = config.patch_size
        scale = config.backbone_config.image_size / min(size)  # as in its training
        seen = [max(1, round(side * scale / patch)) * patch for side in size]
        picture = functional.interpolate(
            _picture(frame_HWC), seen, mode="bicubic", align_corners=False
        )
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN_RGB, _STD_RGB))
        given = ((picture - mean) / std).to(self.model.device, self.model.dtype)
        found = self.model(given).predicted_depth[None].float().cpu()
        return functional.interpolate(found, size, mode="bilinear", align_corners=False)[0]


def load_sound_reader(folder: Path, remedy: str) -> SoundReader:
    """CLAP from a folder, on the CPU.

    Args:
        remedy: what to do where there is none.
    Raises:
        WeightsError: it is missing or not whole.
    """
    model = read_model(ClapModel, folder, remedy=remedy)
    return SoundReader(model, read_part(ClapFeatureExtractor, folder, remedy))


def load_depth_reader(folder: Path, remedy: str) -> DepthReader:
    """Depth Anything from a folder, on the CPU.

    Raises:
        WeightsError: it is missing or not whole.
    """
    return DepthReader(read_model(DepthAnythingForDepthEstimation, folder, remedy=remedy))


@torch.no_grad()
def read_blank(diffusion: Path, remedy: str) -> Tensor:
    """An empty text as Stable Diffusion reads it, (1, L, D): all that it ever reads here.

    Raises:
        WeightsError: what reads is missing or not whole.
    """
    tokenizer = read_part(AutoTokenizer, diffusion / "tokenizer", remedy)
    model = read_model(CLIPTextModel, diffusion / "text_encoder", remedy=remedy).eval()
    most = model.config.max_position_embeddings
    tokens = tokenizer("", padding="max_length", max_length=most, return_tensors="pt")
    states: Tensor = model(tokens.input_ids).last_hidden_state
    return states


def _picture(frame_HWC: Frames) -> Tensor:
    """(1, 3, H, W), from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(frame_HWC)).permute(2, 0, 1)[None].float() / 255
