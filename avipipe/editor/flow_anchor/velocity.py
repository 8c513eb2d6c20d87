"""What Wan says of the two prompts at noisy latents, guided, with the target's words anchored."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from avipipe.editor.common.flow import NUM_TIMESTEPS
from avipipe.editor.flow_anchor.config import FlowAnchorSettings
from avipipe.editor.flow_anchor.sar import Anchors, anchored


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts as Wan reads them: hidden states padded with zeros, each (1, L, D).

    Attributes:
        away: what is guided away from.
        anchors: of the target; None where nothing is anchored.
    """

    source: Tensor
    target: Tensor
    away: Tensor
    anchors: Anchors | None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        """These prompts on a device, hidden states in another type."""
        return type(self)(
            self.source.to(device, dtype),
            self.target.to(device, dtype),
            self.away.to(device, dtype),
            None if self.anchors is None else self.anchors.to(device),
        )


class WanVelocities:
    """The guided flows of a `WanTransformer3DModel`, which has the prompts' device and type."""

    def __init__(self, network: Any, prompts: Prompts, settings: FlowAnchorSettings) -> None:
        self.network, self.prompts, self.settings = network, prompts, settings

    def source(self, latents: Tensor, sigma: float) -> Tensor:
        """The flow of the source prompt."""
        return self._guided(
            latents, sigma, self.prompts.source, self.settings.source_guidance, None
        )

    def target(self, latents: Tensor, sigma: float) -> Tensor:
        """The flow of the target prompt; its words are anchored as long as there is much noise."""
        anchors = self.prompts.anchors if sigma >= self.settings.sar_from_sigma else None
        return self._guided(
            latents, sigma, self.prompts.target, self.settings.target_guidance, anchors
        )

    def _guided(
        self,
        latents: Tensor,
        sigma: float,
        text: Tensor,
        guidance: float,
        anchors: Anchors | None,
    ) -> Tensor:
        with anchored(self.network, anchors):
            towards = self._ask(latents, sigma, text)
        if guidance == 1:
            return towards
        away = self._ask(latents, sigma, self.prompts.away)
        return away + guidance * (towards - away)

    def _ask(self, latents: Tensor, sigma: float, text: Tensor) -> Tensor:
        timestep = torch.tensor([NUM_TIMESTEPS * sigma], device=latents.device)
        answer: Tensor = self.network(latents.to(text.dtype), timestep, text, return_dict=False)[0]
        return answer.float()
