"""Which weights a network begins with, and reading them: for training, and for editing."""

from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from avipipe.editor.avi_edit.convert import load_released
from avipipe.editor.avi_edit.network.loading import build, load_backbone, load_editor
from avipipe.editor.avi_edit.network.transformer import EditorTransformer
from avipipe.editor.avi_edit.sizes import EditorConfig
from avipipe.errors import ConfigError
from avipipe.weights import locate

PULLED = {"wan": ("wan22_ti2v_5b", "transformer"), "released": ("avi_edit", "avi_edit.pt")}
"""What to begin with -> the weight that holds it, and where in its folder."""


class NetworkConfig(BaseModel):
    """Which network, and the weights it begins with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = Field("wan2.2-5b", description="Sizes; see `sizes.py`.")
    begin: Literal["fresh", "wan", "released", "editor"] = Field(
        "wan",
        description="Random weights; Wan's; AVI-Edit's; or those that an earlier run exported.",
    )
    weights: Path | None = Field(
        None, description="Folder or file of what to begin with; else the pulled weights."
    )
    seed: int = Field(0, description="Of all weights that begin fresh.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.begin == "editor" and self.weights is None:
            raise ValueError("begin: editor needs `weights`, the `model` folder of a run")
        return self

    @property
    def sizes(self) -> EditorConfig:
        """Sizes of the network."""
        return EditorConfig.preset(self.preset)


def load_network(config: NetworkConfig, dtype: torch.dtype = torch.float32) -> EditorTransformer:
    """The network with the weights to begin with, on the CPU.

    Args:
        dtype: of weights that are read; fresh ones are float32.
    Raises:
        WeightsError: the weights are missing or do not fit.
        ConfigError: they are of another size.
    """
    sizes, path = config.sizes, weights_path(config)
    if path is None:
        return build(sizes, seed=config.seed)
    if config.begin == "wan":
        return load_backbone(path, sizes, dtype=dtype, seed=config.seed)
    if config.begin == "released":
        return load_released(path, sizes, dtype=dtype)
    model = load_editor(path, dtype=dtype)
    if model.sizes != sizes:
        raise ConfigError(
            f"network.weights: {path} has other sizes than the preset `{config.preset}`"
        )
    return model


def weights_path(config: NetworkConfig) -> Path | None:
    """Folder or file of the weights to begin with; None if there are none.

    Raises:
        WeightsError: they were to be pulled, and are not here.
    """
    if config.begin == "fresh":
        return None
    if config.weights is not None:
        return config.weights
    name, part = PULLED[config.begin]
    return locate(name) / part
