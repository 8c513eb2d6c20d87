"""What the folders of AvED's models hold, by their configurations; what does not fit is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import diffusers as typed_diffusers

from avipipe import weights
from avipipe.annotators.loading import pipeline_index
from avipipe.annotators.reading import pull_again, reading
from avipipe.editor.aved.config import AvedModelsConfig, AvedSettings
from avipipe.editor.common.canvas import check_sizes
from avipipe.editor.common.image_codec import channels_of, read_image_config, stride_of
from avipipe.errors import ConfigError, WeightsError

diffusers: Any = typed_diffusers
"""Its classes are built in ways that a type checker cannot follow."""

ModelPart = Literal["picture", "sound"]

PIPELINES: dict[ModelPart, Any] = {
    "picture": diffusers.StableDiffusionPipeline,
    "sound": diffusers.AudioLDM2Pipeline,
}
NETWORKS: dict[ModelPart, Any] = {
    "picture": diffusers.UNet2DConditionModel,
    "sound": diffusers.AudioLDM2UNet2DConditionModel,
}

SOUND_WEIGHTS = "audioldm2_large"

FIRST_WORDS = 2
"""Which layers of AudioLDM 2 read words: those from this one on; the first two read what GPT-2
makes of them, or nothing, as diffusers has it."""


@dataclass(frozen=True, slots=True)
class ModelKind:
    """A folder with a pipeline of diffusers.

    Attributes:
        remedy: what to do where it is none.
        network, coder: configurations of the UNet, and of the VAE or the codec in its place.
    """

    part: ModelPart
    folder: Path
    remedy: str
    network: Mapping[str, Any]
    coder: Mapping[str, Any]

    @property
    def stride(self) -> int:
        """Pixels, or spectra, along a side of a latent cell."""
        return stride_of(self.coder)

    @property
    def reading_blocks(self) -> list[int]:
        """Which blocks upwards read the words of a prompt."""
        kinds = list(enumerate(self.network["up_block_types"]))
        able = [index for index, kind in kinds if kind.startswith("CrossAttn")]
        widths = self.network["cross_attention_dim"]
        if self.part == "picture":
            return able
        if not isinstance(widths, (list, tuple)):
            return []
        by_block = [level if isinstance(level, (list, tuple)) else [level] for level in widths]
        return [index for index in able if any(by_block[-1 - index][FIRST_WORDS:])]

    @property
    def coarsest(self) -> int:
        """How often the map of the first block upwards with attention has been halved."""
        return len(self.network["up_block_types"]) - 1 - min(self.reading_blocks)


def read_kinds(config: AvedModelsConfig) -> dict[ModelPart, ModelKind]:
    """The folders that a configuration names, and what they hold.

    Raises:
        WeightsError: weights are missing, or of another kind.
    """
    weights.require(pulled_of(config))
    names = _names(config)
    return {part: _read_kind(part, getattr(config, part), names[part]) for part in PIPELINES}


def pulled_of(config: AvedModelsConfig) -> list[str]:
    """The weights that a configuration takes of those that are pulled."""
    return [name for part, name in _names(config).items() if getattr(config, part) is None]


def _names(config: AvedModelsConfig) -> dict[ModelPart, str]:
    return {"picture": config.picture_weights, "sound": SOUND_WEIGHTS}


def check_kinds(
    kinds: Mapping[ModelPart, ModelKind], settings: AvedSettings, sizes: Sequence[tuple[int, int]]
) -> None:
    """Refuse settings that do not go with models.

    Args:
        sizes: widths and heights of frames.
    Raises:
        ConfigError: there is no such block, or the network cannot take such frames.
    """
    for part, kind in kinds.items():
        block, able = getattr(settings, f"{part}_block"), kind.reading_blocks
        if block not in able:
            raise ConfigError(
                f"aved.{part}_block: expected a block that reads words, one of "
                f"{', '.join(map(str, able)) or 'none'}, got {block}"
            )
    cell_px = kinds["picture"].stride * 2 ** kinds["picture"].coarsest
    check_sizes(sizes, cell_px, "aved.sizes")


def _read_kind(part: ModelPart, given: Path | None, weight: str) -> ModelKind:
    pipeline = PIPELINES[part]
    folder = weights.locate(weight) if given is None else given
    remedy = pull_again(weight) if given is None else f"Name a whole {pipeline.__name__}"
    with reading(folder, f"a {pipeline.__name__} in diffusers' layout", remedy):
        pipeline_index(pipeline, folder, remedy)  # refused before anything large is read
        network = NETWORKS[part].load_config(folder / "unet", local_files_only=True)
    coder = read_image_config(folder / "vae", remedy)
    taken, given_channels, latent = (
        network["in_channels"],
        network["out_channels"],
        channels_of(coder),
    )
    if not taken == given_channels == latent:
        raise WeightsError(
            f"{folder}: expected a network that makes latents of text alone, found one that takes "
            f"{taken} and gives {given_channels} channels, for latents of {latent}. {remedy}"
        )
    return ModelKind(part, folder, remedy, network, coder)
