"""How the flow is solved, which models do it, and how they fit into memory."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from avipipe.editor.avi_edit.data.config import EncoderConfig
from avipipe.editor.avi_edit.refine import MIN_SHARE, THRESHOLDS
from avipipe.editor.common.placement import PlacementConfig

Probability = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SampleConfig(_Section):
    """How an edit is solved for; the defaults are Wan's, and the refining of AVI-Edit's paper."""

    num_steps: PositiveInt = Field(50, description="Of the solver.")
    shift: float = Field(5.0, gt=0, description="Above 1: more steps at high noise. At 480p 3.")
    guidance: float = Field(5.0, ge=1, description="By the text; 1: none, in half the time.")
    negative_prompt: str = Field("", description="What the text guides away from.")
    seed: int = Field(0, ge=0, description="Of the noise.")
    gamr_feedback: Literal["paper", "released", "off"] = Field(
        "paper",
        description="What becomes of the refined mask. `paper`: the video is edited in it from "
        "the next step on. `released`: as AVI-Edit's code does, only the refiner sees it. `off`: "
        "nothing is refined.",
    )
    precision_steps: PositiveInt = Field(
        1, description="Steps in which p falls from that of the user's mask to the last one."
    )
    last_precision: Literal[0, 1] = Field(
        1, description="The factor p that the network is told of refined masks."
    )
    thresholds: tuple[Probability, ...] = Field(
        THRESHOLDS,
        min_length=2,
        description="By p, the probability above which a cell stays in the mask.",
    )
    refine_above_sigma: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Noise level below which the mask stays as it is; only texture comes then.",
    )
    kernel: PositiveInt = Field(3, description="Cells across of the closing; 1: none.")
    min_share: float = Field(
        MIN_SHARE,
        ge=0,
        le=1,
        description="Of a frame's mask; where less would be left, the frame keeps what it had.",
    )

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd number, got {kernel}")
        return kernel


class ModelConfig(PlacementConfig):
    """Which models edit, and how they fit into memory."""

    network: Path | None = Field(
        None,
        description="Folder that `avipipe train` left, or the file of AVI-Edit's checkpoint; else "
        "the pulled one.",
    )
    encoders: EncoderConfig | None = Field(
        None, description="Else those that the network was trained with."
    )
    precision: Literal["bf16", "fp32"] | None = Field(
        None, description="That the network computes in; else as it was trained."
    )
    compile: bool = Field(False, description="Compile the network: minutes at first.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.compile and self.offload == "blocks":
            raise ValueError("compile does not go together with offload: blocks; leave one out")
        return self
