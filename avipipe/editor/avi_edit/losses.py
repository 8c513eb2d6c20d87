"""What training minimises, and which conditions it leaves out at times."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional


class LossConfig(BaseModel):
    """Weights of the objective; the defaults are AVI-Edit's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask_weight: float = Field(1.0, ge=0, description="Lambda, of the refiner's focal loss.")
    focal_alpha: float = Field(0.25, ge=0, le=1, description="Weight of cells in the mask.")
    focal_gamma: float = Field(2.0, ge=0, description="How little well-told cells count.")
    full_frame: bool = Field(
        False,
        description="The paper's literal loss, over the whole frame. Outside of the mask the "
        "input is clean, so nothing tells of the noise there, and the loss stays above 1.",
    )


class DropConfig(BaseModel):
    """How often conditions are left out, which guidance needs; the cases exclude each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: float = Field(0.1, ge=0, le=1, description="Share of samples without text.")
    audio: float = Field(0.1, ge=0, le=1, description="Share of samples without audio.")
    both: float = Field(0.05, ge=0, le=1, description="Share of samples without either.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.text + self.audio + self.both > 1:
            raise ValueError("expected shares that add up to at most 1")
        return self


class Losses(NamedTuple):
    """Means over the samples of a batch.

    Attributes:
        total: what is minimised.
        flow: mean squared error of the velocity inside of the mask.
        flow_full_frame: the same over the whole frame.
        mask: focal loss of the refiner.
    """

    total: Tensor
    flow: Tensor
    flow_full_frame: Tensor
    mask: Tensor


def focal_loss(
    logits: Tensor, target: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """The sigmoid focal loss of each element.

    Args:
        logits: any shape.
        target: bool, or 0 and 1, the same shape.
    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002), eq. 5.
    """
    target = target.to(logits.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # 1 - p_t from the logit of the wrong answer: exact where 1 - exp(-entropy) rounds to 0
    wrong = torch.sigmoid(torch.where(target > 0.5, -logits, logits))
    weight = alpha * target + (1 - alpha) * (1 - target)
    return weight * wrong**gamma * entropy


def flow_errors(
    velocity_BCThw: Tensor, target_BCThw: Tensor, mask_B1Thw: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean squared error of each sample: inside of its mask, and over the whole frame, both (B,).

    Inside, the sum is divided by the size of the mask, so that small instances count as much as
    large ones; an empty mask counts nothing.
    """
    squared = (velocity_BCThw.float() - target_BCThw.float()).square().mean(dim=1, keepdim=True)
    mask = mask_B1Thw.to(squared.dtype)
    inside = (squared * mask).flatten(1).sum(dim=1) / mask.flatten(1).sum(dim=1).clamp(min=1)
    return inside, squared.flatten(1).mean(dim=1)


def training_losses(
    velocity: Tensor,
    mask_logits: Tensor,
    *,
    target: Tensor,
    mask: Tensor,
    exact_mask: Tensor,
    config: LossConfig,
) -> Losses:
    """The objective L = L_flow + lambda L_mask.

    Args:
        velocity, target: predicted and true, (B, C, T, h, w).
        mask_logits: of the refiner, (B, 1, T, h, w).
        mask: that was given to the network, (B, 1, T, h, w).
        exact_mask: what the refiner is to find, the same shape.
    Source: AVI-Edit (arXiv 2512.10571), training objective.
    """
    inside, full_frame = flow_errors(velocity, target, mask)
    focal = focal_loss(
        mask_logits.float(), exact_mask, alpha=config.focal_alpha, gamma=config.focal_gamma
    )
    flow = full_frame.mean() if config.full_frame else inside.mean()
    return Losses(
        total=flow + config.mask_weight * focal.mean(),
        flow=inside.mean().detach(),
        flow_full_frame=full_frame.mean().detach(),
        mask=focal.mean().detach(),
    )


def draw_dropped(
    config: DropConfig, generators: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor]:
    """Which samples lose their text, and which their audio: bool, (B,) each."""
    draws = torch.cat([torch.rand(1, generator=generator) for generator in generators])
    edges = torch.tensor([config.text, config.audio, config.both]).cumsum(0)
    case = torch.bucketize(draws, edges, right=True)
    return (case == 0) | (case == 2), (case == 1) | (case == 2)
