"""Inflates a UNet of images to one of video that hears; at first it does to each frame what it did.

Frames stand where images stood, as a batch. Two kinds of its blocks are wrapped, and its time
embedding; the rest of diffusers' `UNet2DConditionModel` runs as it is. It hands on what it gets in
the place of an embedding of time, and of options of attention, and so both bring the sound along.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from avipipe.editor.audio_scenic.frequency import FrequencyFuser, LowPass
from avipipe.editor.audio_scenic.hearing import NUM_BANDS, Heard

BLOCK: Any = BasicTransformerBlock
ATTENTION: Any = Attention
RESNET: Any = ResnetBlock2D
"""Untyped in their library."""


@dataclass(frozen=True, slots=True)
class SceneTime:
    """The embeddings of a step's time without and with a sound's meaning, both (F, D)."""

    plain_FD: Tensor
    heard_FD: Tensor
    heard: Heard

    def spread(
        self, layer: Callable[[Tensor], Tensor], size: tuple[int, int], *, by_loudness: bool = False
    ) -> Tensor:
        """What a layer makes of them at each cell, (F, C, h, w): of the plain one where all stays.

        As the layer sees one cell at a time, this is its answer to the blended embedding.

        Source: SceneMasker, AudioScenic (arXiv 2404.16581), Eq. 7; with `by_loudness` the
            Magnitude Modulator, Eq. 8, here of the scene alone.
        """
        plain, heard = (
            layer(embedding)[..., None, None] for embedding in (self.plain_FD, self.heard_FD)
        )
        if by_loudness:
            heard = heard * self.heard.gains[:, None, None, None].to(heard.dtype)
        return torch.where(self.heard.scene_at(size) > 0, heard, plain)


def _spread(
    time: Tensor | SceneTime,
    layer: Callable[[Tensor], Tensor],
    size: tuple[int, int],
    *,
    by_loudness: bool = False,
) -> Tensor:
    """What a layer makes of an embedding of time, with a sound or without."""
    if isinstance(time, SceneTime):
        return time.spread(layer, size, by_loudness=by_loudness)
    return layer(time)[..., None, None]


class AudioTimeEmbedding(nn.Module):
    """Embeds a step's time, and adds a sound's meaning to it."""

    def __init__(self, embedding: Any, num_meaning: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.meaning = nn.Linear(num_meaning, embedding.linear_2.out_features)
        _set_to_zero(self.meaning)

    def forward(self, time: Tensor, heard: Heard | None = None) -> Tensor | SceneTime:
        """Embeddings of F times; the sound stands where diffusers has another condition.

        Source: AudioScenic (arXiv 2404.16581), section 4.2.
        """
        plain_FD: Tensor = self.embedding(time)
        if heard is None:
            return plain_FD
        return SceneTime(plain_FD, plain_FD + self.meaning(heard.meaning_D), heard)


class TemporalConvolutions(nn.Module):
    """Two convolutions along time; in between, time and sound are added, by loudness."""

    def __init__(self, num_channels: int, num_time: int, num_groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(num_groups, num_channels) for _ in range(2))
        self.conv1, self.conv2 = (
            nn.Conv3d(num_channels, num_channels, (3, 1, 1), padding=(1, 0, 0)) for _ in range(2)
        )
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(num_time, num_channels))
        _set_to_zero(self.conv2)

    def forward(self, video_FChw: Tensor, time: Tensor | SceneTime) -> Tensor:
        """Features of the same frames; at first they are left as they are."""
        added = _spread(time, self.time, size_of(video_FChw), by_loudness=True)
        along = self._along(self.conv1, self.norm1, video_FChw) + added
        return video_FChw + self._along(self.conv2, self.norm2, along)

    def _along(self, conv: nn.Module, norm: nn.Module, video_FChw: Tensor) -> Tensor:
        video_1CFhw = video_FChw.transpose(0, 1)[None]
        found: Tensor = conv(nn.functional.silu(norm(video_1CFhw)))
        return found[0].transpose(0, 1)


class SceneResnet(nn.Module):
    """A `ResnetBlock2D` that takes a time for each cell, and temporal convolutions behind it."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block
        num_time = block.time_emb_proj.in_features
        self.temporal = TemporalConvolutions(block.out_channels, num_time, block.norm2.num_groups)

    def forward(self, video_FChw: Tensor, time: Tensor | SceneTime) -> Tensor:
        """As `ResnetBlock2D.forward`, frame by frame, then along time."""
        block = self.block
        found = block.conv1(block.nonlinearity(block.norm1(video_FChw)))
        found = found + _spread(
            time, lambda each: block.time_emb_proj(block.nonlinearity(each)), size_of(found)
        )
        found = block.conv2(block.dropout(block.nonlinearity(block.norm2(found))))
        past = video_FChw if block.conv_shortcut is None else block.conv_shortcut(video_FChw)
        result: Tensor = self.temporal((past + found) / block.output_scale_factor, time)
        return result


class SceneTransformer(nn.Module):
    """A `BasicTransformerBlock` with a fuser behind its words, and attention along time."""

    def __init__(self, block: Any, low: LowPass) -> None:
        super().__init__()
        self.block, self.low = block, low
        num_channels = block.attn1.query_dim
        self.fuser = FrequencyFuser(NUM_BANDS, num_channels)
        self.norm = nn.LayerNorm(num_channels)
        heads = block.attn1.heads
        self.temporal = ATTENTION(num_channels, heads=heads, dim_head=num_channels // heads)
        _set_to_zero(self.temporal.to_out[0])

    def forward(
        self,
        video_FNC: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        timestep: Tensor | None = None,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        class_labels: Tensor | None = None,
    ) -> Tensor:
        """As `BasicTransformerBlock.forward` with layer norms, frame by frame, then along time."""
        block, heard = self.block, (cross_attention_kwargs or {}).get("heard")
        video_FNC = video_FNC + block.attn1(block.norm1(video_FNC))
        words = {"encoder_hidden_states": encoder_hidden_states}
        video_FNC = video_FNC + block.attn2(block.norm2(video_FNC), **words)
        if heard is not None:
            video_FNC = self._fused(video_FNC, heard)
        video_FNC = video_FNC + block.ff(block.norm3(video_FNC))
        video_NFC = video_FNC.transpose(0, 1)
        found: Tensor = video_NFC + self.temporal(self.norm(video_NFC))
        return found.transpose(0, 1)

    def _fused(self, video_FNC: Tensor, heard: Heard) -> Tensor:
        """The scene's frequencies weighed; what stays, stays."""
        num_frames, num_cells, num_channels = video_FNC.shape
        size = _halved(num_cells, size_of(heard.scene_F1hw))
        video_FChw = video_FNC.transpose(1, 2).reshape(num_frames, num_channels, *size)
        low_Fhw = self.low.at((num_frames, *size)).to(video_FNC.device)
        fused_FChw = self.fuser(video_FChw, heard.mel_FM, low_Fhw, heard.frequency)
        found = torch.where(heard.scene_at(size) > 0, fused_FChw, video_FChw)
        return found.flatten(2).transpose(1, 2)


TUNED: Mapping[type, tuple[str, ...]] = {
    AudioTimeEmbedding: ("meaning",),
    SceneResnet: ("temporal",),
    SceneTransformer: ("fuser", "norm", "temporal", "block.attn1.to_q", "block.attn2.to_q"),
}
"""Kind of module -> its parts that are tuned; of the UNet's own the queries, as in Tune-A-Video."""


def inflate(unet: Any, num_meaning: int, low: LowPass, *, seed: int = 0) -> Any:
    """Make a UNet of images one of video, in place.

    It is called as before, with F frames for a batch, and of a sound `Heard` with
    `timestep_cond=heard, cross_attention_kwargs={"heard": heard}`.

    Args:
        unet: diffusers' `UNet2DConditionModel`, as Stable Diffusion has it.
        num_meaning: size of the embedding of a sound.
        seed: of new weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.time_embedding = AudioTimeEmbedding(unet.time_embedding, num_meaning)
        for name, block in list(unet.named_modules()):
            if isinstance(block, RESNET):
                unet.set_submodule(name, SceneResnet(block))
            elif isinstance(block, BLOCK):
                unet.set_submodule(name, SceneTransformer(block, low))
    return unet


def tuned(unet: Any) -> dict[str, nn.Parameter]:
    """What is tuned of an inflated UNet, by name: all that is new, and queries of attention."""
    return {
        f"{name}.{part}.{each}": weight
        for name, module in unet.named_modules()
        for part in TUNED.get(type(module), ())
        for each, weight in module.get_submodule(part).named_parameters()
    }


def _set_to_zero(layer: nn.Module) -> None:
    for weight in layer.parameters():
        nn.init.zeros_(weight)


def size_of(video_FChw: Tensor) -> tuple[int, int]:
    """Rows and columns of features."""
    return video_FChw.shape[-2], video_FChw.shape[-1]


def _halved(num_cells: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of so many cells, of a grid that was halved some times."""
    height, width = size
    while height * width > num_cells:
        height, width = (height + 1) // 2, (width + 1) // 2
    assert height * width == num_cells, f"{num_cells} cells are no {size} halved"
    return height, width
