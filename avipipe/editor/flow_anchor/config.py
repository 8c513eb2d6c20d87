"""How FlowAnchor edits, which models do it, and how they fit into memory."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from avipipe.editor.common.dtypes import Precision
from avipipe.editor.common.placement import PlacementConfig
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
    sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(
        ((832, 480), (480, 832), (624, 624)),
        min_length=1,
        description="Widths and heights that Wan knows: at 480p. Others have as many pixels.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.skipped_steps >= self.num_steps:
            raise ValueError(
                f"skipped_steps: expected fewer than num_steps, {self.num_steps}, got "
                f"{self.skipped_steps}"
            )
        return self


class WanConfig(PlacementConfig):
    """Which Wan edits, and how it fits into memory."""

    weights: Literal["wan21_t2v_1_3b", "wan21_t2v_14b", "wan22_ti2v_5b"] = Field(
        "wan21_t2v_1_3b", description="Pulled weights."
    )
    wan: Path | None = Field(
        None,
        description="Instead, a folder with transformer, vae, text_encoder and tokenizer, as "
        "diffusers has them.",
    )
    precision: Precision = Field("bf16", description="That the models compute in.")
