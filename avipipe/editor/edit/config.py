"""How edits are made by any method: sizes, what is written, and who looks for words."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OutputConfig(_Section):
    """Sizes, and what is written. Nothing here changes what the network is asked."""

    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Width and height that are edited; else as the method has it."
    )
    chunk_frames: int | None = Field(
        None, ge=5, description="Most frames edited at once; else as the method has it."
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
    """Everything that edits can be told beside the job; a method adds its own sections."""

    options: ClassVar[Mapping[str, str]] = {"--profile": "profile"}
    """Option of `avipipe edit` -> the key that it stands for."""
    not_decisive: ClassVar[frozenset[str]] = frozenset()
    """Settings of `models`, if there are any, on which no result depends: where networks lie and
    work. What they are, their hashes say."""

    method: str = Field("avi_edit", description="Which one edits.")
    output: OutputConfig = OutputConfig()
    profile: str = Field("embedded", description="Whose models look for what words name.")
    audio_tools: dict[str, str] = Field(
        default_factory=dict, description="Role -> tool of the audio agent; see `audio-edit`."
    )

    def decisive(self) -> dict[str, Any]:
        """The settings on which a result depends, as JSON."""
        return self.model_dump(mode="json", exclude={"models": set(self.not_decisive)})
