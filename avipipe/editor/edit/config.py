"""How edits are made: models, solver, sizes and what is written."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from avipipe.annotators import registry
from avipipe.config_file import told, validated
from avipipe.editor.avi_edit.config import ModelConfig, SampleConfig
from avipipe.editor.avi_edit.data.config import DataConfig


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OutputConfig(_Section):
    """Sizes, and what is written. Nothing here changes what the network is asked."""

    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Width and height that are edited, multiples of 32; else the model's."
    )
    chunk_frames: int | None = Field(
        None, ge=5, description="Most frames edited at once, 4 n + 1; else the model's."
    )
    composite: bool = Field(
        True, description="Put the source's own pixels around the mask, with a soft seam."
    )
    margin_px: int = Field(
        16, ge=0, description="Around the mask; the seam lies in it, and nothing beyond changes."
    )
    crf: int = Field(17, ge=0, le=51, description="libx264's constant rate factor.")
    preview_height_px: int = Field(360, ge=32)


class EditConfig(_Section):
    """Everything that edits can be told beside the job."""

    models: ModelConfig = ModelConfig()
    solver: SampleConfig = SampleConfig()
    output: OutputConfig = OutputConfig()
    profile: str = Field("embedded", description="Whose models look for what words name.")
    audio_tools: dict[str, str] = Field(
        default_factory=dict, description="Role -> tool of the audio agent; see `audio-edit`."
    )
    deletion_prompt: str = Field(
        DataConfig.model_fields["deletion_text"].default,
        description="What the network reads where something is taken away and no prompt is given.",
    )

    @field_validator("solver")
    @classmethod
    def _unseeded(cls, solver: SampleConfig) -> SampleConfig:
        if solver.seed:
            raise ValueError("each edit has its own seed: say --seed, or `seed` beside its mask")
        return solver


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> EditConfig:
    """From a YAML file and `key=value` texts.

    Raises:
        ConfigError: no such file or profile, an unknown key, or a wrong value.
    """
    config = validated(EditConfig, told(path, overrides), where=path)
    registry.profile(config.profile)
    return config
