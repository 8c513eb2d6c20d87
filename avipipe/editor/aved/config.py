"""How AvED edits, which models do it, and how they fit into memory."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from avipipe.editor.common.dtypes import Precision
from avipipe.editor.common.placement import PlacementConfig

NATIVE_FPS = 4
"""Frames a second that are edited, the paper's."""

Share = Annotated[float, Field(ge=0, le=1)]


class AvedSettings(BaseModel):
    """How latents are edited. Steps, learning rate, decay, grids and tau are the paper's; where it
    is silent, the defaults are those of what it builds on, CDS, or choices that say so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_steps: PositiveInt = Field(200, description="Of gradient descent.")
    learning_rate: PositiveFloat = Field(1.0, description="Of SGD, at the first step.")
    decay: Share = Field(0.99, description="What it is multiplied with after each step.")
    step_scale: PositiveFloat = Field(
        0.1, description="Of the gradient: CDS's rate, so that the first step is as large as its."
    )
    picture_guidance: float = Field(7.5, ge=1, description="Of SD by the prompts, CDS's.")
    sound_guidance: float = Field(3.5, ge=1, description="Of AudioLDM 2, its own default.")
    negative_prompt: str = Field("", description="What both guide away from.")
    first_timestep: int = Field(50, ge=0, le=999, description="Least noise, CDS's.")
    last_timestep: int = Field(949, ge=0, le=999, description="Most noise, CDS's.")
    relevance: Share = Field(
        0.8, description="Tau of picture and sound: what looks more to the edit's words is of it."
    )
    shown_above: Share = Field(
        0.5,
        description="Relevance, the mean over all steps, above which the new picture is seen. A "
        "choice: tau leaves only the core of what changes.",
    )
    contrast_weight: float = Field(3.0, ge=0, description="Of the contrastive losses, CDS's.")
    contrast_share: float | None = Field(
        None,
        gt=0,
        description="Instead: length of their gradient, by that of delta denoising, at each step.",
    )
    cross_modal: bool = Field(True, description="Picture and sound are drawn together.")
    temperature: PositiveFloat = Field(0.07, description="Of these losses, CDS's.")
    num_patches: PositiveInt = Field(256, description="Most that a loss looks at, CDS's.")
    patch_sizes: tuple[PositiveInt, ...] = Field(
        (1, 2), min_length=1, description="Tokens along a side of a patch, CDS's."
    )
    picture_block: int = Field(
        2, ge=0, description="Of SD, upwards: its tokens are compared with those of the sound's."
    )
    sound_block: int = Field(
        0, ge=0, description="Of AudioLDM 2; with 2 of SD the pair that is of one width, 640."
    )
    grid_side: PositiveInt = Field(2, description="Frames along a side of a grid.")
    sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(
        ((256, 256), (352, 192), (192, 352), (288, 224), (224, 288)),
        min_length=1,
        description="Widths and heights of frames; four fill the 512x512 pixels that SD knows.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.first_timestep > self.last_timestep:
            raise ValueError(
                f"first_timestep: expected no more than last_timestep, {self.last_timestep}, got "
                f"{self.first_timestep}"
            )
        return self


class AvedModelsConfig(PlacementConfig):
    """Which models edit, and how they fit into memory."""

    picture_weights: Literal["sd21_base", "sd21"] = Field(
        "sd21_base", description="Pulled weights of Stable Diffusion 2.1."
    )
    picture: Path | None = Field(
        None, description="Instead, the folder of a StableDiffusionPipeline of diffusers."
    )
    sound: Path | None = Field(
        None, description="The folder of an AudioLDM2Pipeline of diffusers; else pulled."
    )
    precision: Precision = Field(
        "fp32",
        description="That networks compute in; an edit follows small differences of theirs.",
    )
    offload: Literal["none", "models"] = Field(
        "none", description="What waits in the machine's memory: nothing, or what is not at work."
    )
