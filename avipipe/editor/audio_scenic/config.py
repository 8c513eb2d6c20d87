"""How AudioScenic tunes and edits, which models do it, and how they fit into memory."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from avipipe.editor.audio_scenic.frequency import Response
from avipipe.editor.common.dtypes import Precision
from avipipe.editor.common.placement import PlacementConfig

_HIGHEST = 1.0
"""Of all frequencies, as a share."""


class ScenicSettings(BaseModel):
    """How a scene is changed; the defaults are the paper's, or FreeInit's for the filter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tuning_steps: int = Field(300, ge=0, description="Of tuning on the one video; 0: none.")
    learning_rate: PositiveFloat = Field(3e-5, description="Of these steps.")
    num_steps: PositiveInt = Field(50, description="To noise, and as many back.")
    magnitude: float = Field(
        1.0, ge=0, le=1, description="How far loudness sways the scene; 0: not at all."
    )
    temperature: PositiveFloat = Field(
        0.1, description="Tau: the higher, the more alike loud and quiet frames are."
    )
    frequency: float = Field(
        1.0, ge=0, description="How far mel bands weigh high frequencies; 0: not at all."
    )
    response: Response = Field("butterworth", description="Of the filter of low frequencies.")
    space_stop: float = Field(0.25, gt=0, le=_HIGHEST, description="Where it ends in space.")
    time_stop: float = Field(0.25, gt=0, le=_HIGHEST, description="Where it ends in time.")
    control: float = Field(1.0, ge=0, description="How far shapes are held by their depth.")
    sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(
        ((768, 768),),
        min_length=1,
        description="Widths and heights to edit at; others have as many pixels.",
    )


class ScenicModelsConfig(PlacementConfig):
    """Which models edit, and how they fit into memory."""

    offload: Literal["none", "models"] = Field(
        "none", description="What waits in the machine's memory: nothing, or what is not at work."
    )
    diffusion: Path | None = Field(
        None,
        description="Instead of the pulled Stable Diffusion, a folder with unet, vae, "
        "text_encoder, tokenizer and scheduler, as diffusers has them.",
    )
    controlnet: Path | None = Field(None, description="Instead of the pulled one, of depth.")
    depth: Path | None = Field(None, description="Instead of the pulled Depth Anything.")
    clap: Path | None = Field(None, description="Instead of the pulled CLAP.")
    imagebind: Path | None = Field(
        None,
        description="Instead of CLAP, a checkpoint of ImageBind in its own layout, such as "
        "imagebind_huge.pth: the paper's reader of sounds, not for commercial use.",
    )
    precision: Precision = Field("bf16", description="That the models compute in.")

    @model_validator(mode="after")
    def _hears_by_one(self) -> Self:
        if self.clap is not None and self.imagebind is not None:
            raise ValueError("clap is not read beside imagebind; give one of them")
        return self
