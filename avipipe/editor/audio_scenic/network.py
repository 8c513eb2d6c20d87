"""The inflated UNet and its ControlNet, asked about all frames of a part at once."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from avipipe.editor.audio_scenic.hearing import Heard


@dataclass(frozen=True, slots=True)
class SceneNetwork:
    """Stable Diffusion as a network of video that hears and holds shapes.

    Weights of `unet` are float32, as they are tuned; it computes in `dtype`.

    Attributes:
        unet: of `inflate`.
        controlnet: diffusers' `ControlNetModel`, of depth.
        blank_1LD: an empty text, as it is read.
        control: how far shapes are held.
    """

    unet: Any
    controlnet: Any
    blank_1LD: Tensor
    dtype: torch.dtype
    control: float

    def says(
        self, latents_FChw: Tensor, timestep: int, heard: Heard | None, shapes: Tensor | None = None
    ) -> Tensor:
        """What it says of noisy latents, float32.

        Args:
            heard: a sound; None: none is heard.
            shapes: depth (F, 3, H, W) in [0, 1], near is 1; None: no shapes are held.
        """
        time = torch.tensor(timestep, device=latents_FChw.device)
        words = self.blank_1LD.to(latents_FChw.device).expand(len(latents_FChw), -1, -1)
        is_mixed = self.dtype != torch.float32
        with torch.autocast(latents_FChw.device.type, self.dtype, enabled=is_mixed):
            held = {} if shapes is None else self._held(latents_FChw, time, words, shapes)
            said: Tensor = self.unet(
                latents_FChw,
                time,
                encoder_hidden_states=words,
                timestep_cond=heard,
                cross_attention_kwargs={"heard": heard},
                return_dict=False,
                **held,
            )[0]
        return said.float()

    def _held(
        self, latents_FChw: Tensor, time: Tensor, words: Tensor, shapes: Tensor
    ) -> dict[str, Any]:
        down, middle = self.controlnet(
            latents_FChw,
            time,
            encoder_hidden_states=words,
            controlnet_cond=shapes,
            conditioning_scale=self.control,
            return_dict=False,
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
