"""How FlowAnchor edits, which models do it, and how they fit into memory."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from avipipe.editor.flow_anchor.amm import Contrast

Strength = Annotated[float, Field(ge=0, le=1)]


class FlowAnchorSettings(BaseModel):
    """How the flow is followed; the defaults are the paper's, the guidances FlowEdit's on Wan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_steps: PositiveInt = Field(25, description="T, of the noise levels.")
    skipped_steps: int = Field(2, ge=0, description="First of them, which are left out.")
    shift: float = Field(5.0, gt=0, description="Above 1: more steps at high noise.")
    num_noises: PositiveInt = Field(1, description="Noises whose mean a step follows.")
    source_guidance: float = Field(5.0, ge=1, description="By the source prompt; 1: none.")
    target_guidance: float = Field(10.0, ge=1, description="By the prompt; 1: none.")
    negative_prompt: str = Field("", description="What both guide away from.")
    sar: bool = Field(True, description="Anchor words are drawn into the mask.")
    sar_from_sigma: float = Field(0.6, ge=0, le=1, description="Lowest noise level of this.")
    text_strength: Strength = Field(0.3, description="Beta 1: among the words of each place.")
    space_strength: Strength = Field(0.3, description="Beta 2: among the places of each word.")
    amm: bool = Field(True, description="What changes most is changed more.")
    gamma: float = Field(1.0, ge=0, description="By how much, at 81 frames.")
    contrast: Contrast = Field(
        "signed", description="What counts as most: the mean over channels, or its magnitude."
    )
    latent_blend: bool = Field(
        False, description="Put the source's latents around the mask after each step."
    )
    area_px: PositiveInt = Field(
        832 * 480, description="Pixels of a picture, about; its sides follow the video's shape."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.skipped_steps >= self.num_steps:
            raise ValueError(
                f"skipped_steps: expected fewer than num_steps, {self.num_steps}, got "
                f"{self.skipped_steps}"
            )
        return self
