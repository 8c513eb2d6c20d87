"""Sizes of the editor's network, and of the clips that it works on."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from avipipe.errors import ConfigError

TEMPORAL_STRIDE = 4
"""Video frames per latent frame, but for the first, which holds one."""

SPATIAL_STRIDE = 16
"""Pixels per latent cell, in each direction."""

PATCH = 2
"""Latent cells per token, in each direction."""

CELL_PX = SPATIAL_STRIDE * PATCH
"""Sides of a token, of which sides of pictures are multiples."""

Layers = Annotated[tuple[int, ...], Field(min_length=1)]


class EditorConfig(BaseModel):
    """Sizes of the network; the defaults are those of AVI-Edit on Wan2.2-TI2V-5B.

    Names are those of diffusers' `WanTransformer3DModel` where it has them.

    Attributes:
        in_channels: of a video latent, which are also those of the velocity; the mask comes on top.
        text_len: tokens that a text is zero-padded to; Wan attends to the padding.
        audio_layers: blocks after which audio is injected.
        audio_dim, num_audio_states: width and number of wav2vec2's hidden states, embeddings first.
        num_audio_tokens: heard per latent frame, beside one that is learnt and a global one.
        gamr_layers: blocks with a block of the mask refiner (GAMR) at their side.
        gamr_ffn_dim: width of the refiner's feed-forward layers.
        max_precision: P, the precision factor of a bounding box; 0 is an exact mask.
        backbone_p: whether the video branch knows the precision factor too.
        controls: kinds of control video that may be given.
        reference_frame: latent frame at which reference images stand; clips end before it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_layers: PositiveInt = 30
    num_attention_heads: PositiveInt = 24
    attention_head_dim: PositiveInt = 128
    ffn_dim: PositiveInt = 14336
    in_channels: PositiveInt = 48
    freq_dim: PositiveInt = 256
    text_dim: PositiveInt = 4096
    text_len: PositiveInt = 512
    audio_layers: Layers = (0, 4, 8, 12, 16, 20, 24, 27)
    audio_dim: PositiveInt = 1024
    num_audio_states: PositiveInt = 25
    num_audio_tokens: PositiveInt = 4
    gamr_layers: Layers = (0, 4, 8, 12, 16, 20, 24, 27)
    gamr_ffn_dim: PositiveInt = 14336
    max_precision: PositiveInt = 4
    backbone_p: bool = True
    controls: tuple[str, ...] = ("scribble", "pose")
    reference_frame: PositiveInt = 31

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("audio_layers", "gamr_layers"):
            layers = getattr(self, name)
            if list(layers) != sorted(set(layers) & set(range(self.num_layers))):
                raise ValueError(
                    f"{name}: expected increasing numbers from 0 to {self.num_layers - 1}, "
                    f"got {layers}"
                )
        if self.dim % 4:
            raise ValueError(f"expected a width that 4 divides, got {self.dim}")
        return self

    @property
    def dim(self) -> int:
        """Width of the transformer."""
        return self.num_attention_heads * self.attention_head_dim

    @classmethod
    def preset(cls, name: str) -> "EditorConfig":
        """`wan2.2-5b`, or `tiny` for tests.

        Raises:
            ConfigError: there is no such preset.
        """
        try:
            return cls(**_PRESETS[name])
        except KeyError:
            raise ConfigError(
                f"there is no network `{name}`; choose one of {', '.join(sorted(_PRESETS))}"
            ) from None


_PRESETS: dict[str, dict[str, Any]] = {
    "wan2.2-5b": {},
    "tiny": {
        "num_layers": 3,
        "num_attention_heads": 2,
        "attention_head_dim": 36,
        "ffn_dim": 96,
        "in_channels": 12,
        "freq_dim": 16,
        "text_dim": 16,
        "text_len": 8,
        "audio_layers": (0, 2),
        "audio_dim": 8,
        "num_audio_states": 3,
        "gamr_layers": (0, 2),
        "gamr_ffn_dim": 96,
    },
}
"""Name -> what differs from the official network. The width of `tiny`, 72, is half as much again as
a token has values (12 channels in 2 x 2 cells): the noise of a velocity must pass through it."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A size of clips; only clips of one size go into a batch.

    Attributes:
        num_frames: of video, 4 n + 1.
        height_px, width_px: multiples of 32.
    """

    num_frames: int
    height_px: int
    width_px: int

    def __post_init__(self) -> None:
        sides_px = (self.height_px, self.width_px)
        is_size = min(self.num_frames, *sides_px) > 0 and not any(px % CELL_PX for px in sides_px)
        if not is_size or self.num_frames % TEMPORAL_STRIDE != 1:
            raise ConfigError(
                f"expected 4 n + 1 frames with sides that {CELL_PX} divides, got {self.num_frames} "
                f"frames of {self.width_px}x{self.height_px}"
            )

    @property
    def latent_size(self) -> tuple[int, int, int]:
        """Latent frames, and cells down and across."""
        return (
            num_latent_frames(self.num_frames),
            self.height_px // SPATIAL_STRIDE,
            self.width_px // SPATIAL_STRIDE,
        )

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of one latent frame."""
        _, height, width = self.latent_size
        return height * width // PATCH**2

    @property
    def num_tokens(self) -> int:
        """Tokens of the clip."""
        return self.latent_size[0] * self.tokens_per_frame


def num_latent_frames(num_frames: int) -> int:
    """Latent frames of 4 n + 1 video frames: the first stands alone, then come groups of four."""
    return (num_frames - 1) // TEMPORAL_STRIDE + 1
