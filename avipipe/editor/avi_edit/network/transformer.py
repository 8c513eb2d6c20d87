"""The editor's network: Wan2.2-TI2V with audio, masks, controls, references, and a mask refiner."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn
from torch.nn import functional

from avipipe.editor.avi_edit.network.attention import Rotary
from avipipe.editor.avi_edit.network.audio import AudioInjection, AudioProjector, AudioTokens
from avipipe.editor.avi_edit.network.gamr import MaskRefiner
from avipipe.editor.avi_edit.network.modulation import PrecisionEmbedding, modulate, per_token
from avipipe.editor.avi_edit.network.tokens import (
    Size,
    ZeroEmbedding,
    to_tokens,
    token_grid,
    unpatchify,
)
from avipipe.editor.avi_edit.sizes import PATCH, TEMPORAL_STRIDE, EditorConfig

NEW_MODULES = (
    "mask_embedding",
    "control_embeddings",
    "reference_embedding",
    "audio_encoder",
    "audio_injections",
    "precision",
    "refiner",
)
"""What the network has beyond plain Wan: the first words of the keys that Wan does not have."""


class EditorOutput(NamedTuple):
    """What the network says of a batch.

    Attributes:
        velocity: noise minus sample (Wan's convention), (B, C, T, h, w).
        mask_logits: of the refined mask, (B, 1, T, h, w); None where nothing was refined.
    """

    velocity: Tensor
    mask_logits: Tensor | None


@dataclass(frozen=True, slots=True)
class _Given:
    """What all layers of one call share.

    Attributes:
        size: tokens of the video along time, height and width; references come after them.
        block_modulation: (B, 6, D) or, per token, (B, S, 6, D).
        rotary: of all tokens; `video_rotary` of those of the video.
        time_BG6D: what the refiner adds its own precision to.
    """

    size: Size
    text_BLD: Tensor
    block_modulation: Tensor
    rotary: Rotary
    video_rotary: Rotary
    audio: AudioTokens | None
    time_BG6D: Tensor


class EditorTransformer(WanTransformer3DModel):
    """Wan's video transformer, its weights under their own names, and what the editor adds.

    What is new adds nothing at first: with fresh weights the velocity is that of plain Wan, bit for
    bit, whatever mask, audio, precision and controls are given. (References add tokens, so they
    do change it.) The mask channel of the patch embedding is a module of its own,
    `mask_embedding`; together the two are one convolution over C + 1 channels.

    Make one with `avipipe.editor.avi_edit.network.loading`.

    References stand at frames from `reference_frame` on, and are without noise. A refiner that is
    given no mask does not run.
    """

    _no_split_modules = ["WanTransformerBlock", "AudioInjection", "GamrBlock"]  # noqa: RUF012
    _repeated_blocks = ["WanTransformerBlock", "AudioInjection", "GamrBlock"]  # noqa: RUF012
    _cp_plan = None  # type: ignore[assignment]  # Wan's would cut latent frames apart, and tokens attend within theirs here

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_layers: int = 30,
        num_attention_heads: int = 24,
        attention_head_dim: int = 128,
        ffn_dim: int = 14336,
        in_channels: int = 48,
        out_channels: int = 48,
        freq_dim: int = 256,
        text_dim: int = 4096,
        text_len: int = 512,
        audio_layers: tuple[int, ...] = (0, 4, 8, 12, 16, 20, 24, 27),
        audio_dim: int = 1024,
        num_audio_states: int = 25,
        num_audio_tokens: int = 4,
        gamr_layers: tuple[int, ...] = (0, 4, 8, 12, 16, 20, 24, 27),
        gamr_ffn_dim: int = 14336,
        max_precision: int = 4,
        backbone_p: bool = True,
        controls: tuple[str, ...] = ("scribble", "pose"),
        reference_frame: int = 31,
        patch_size: tuple[int, int, int] = (1, PATCH, PATCH),
        cross_attn_norm: bool = True,
        qk_norm: str = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
    ) -> None:
        super().__init__(
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=num_layers,
            cross_attn_norm=cross_attn_norm,
            qk_norm=qk_norm,
            eps=eps,
            image_dim=image_dim,
            added_kv_proj_dim=added_kv_proj_dim,
            rope_max_seq_len=rope_max_seq_len,
            pos_embed_seq_len=pos_embed_seq_len,
        )
        dim, heads = num_attention_heads * attention_head_dim, num_attention_heads
        self.mask_embedding = ZeroEmbedding(1, dim, bias=False)
        self.control_embeddings = nn.ModuleDict(
            {kind: ZeroEmbedding(in_channels, dim) for kind in controls}
        )
        self.reference_embedding = nn.Parameter(torch.zeros(dim))
        self.audio_encoder = AudioProjector(dim, audio_dim, num_audio_states, num_audio_tokens)
        self.audio_injections = nn.ModuleDict(
            {str(layer): AudioInjection(dim, heads, eps) for layer in audio_layers}
        )
        self.precision = PrecisionEmbedding(dim) if backbone_p else None
        self.refiner = MaskRefiner(dim, gamr_ffn_dim, heads, gamr_layers, eps)

    @property
    def sizes(self) -> EditorConfig:
        """The sizes of this network."""
        return EditorConfig(**{name: self.config[name] for name in EditorConfig.model_fields})

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        *,
        mask: Tensor | None = None,
        precision: Tensor | None = None,
        audio: Tensor | None = None,
        has_audio: Tensor | None = None,
        clean: Tensor | None = None,
        controls: Mapping[str, Tensor] | None = None,
        references: Tensor | None = None,
        refiner_mask: Tensor | None = None,
        refine: bool = True,
    ) -> EditorOutput:
        """Predict the velocity of noisy latents, and which cells the instance covers.

        Without any of the optional arguments this is plain Wan.

        Args:
            hidden_states: noisy latents, (B, C, T, h, w), with h and w even.
            timestep: 0 … 1000, float32 (bfloat16 errs by up to 2), (B,) or, per token, (B, S) with
                S = T h w / 4.
            encoder_hidden_states: embedded text, (B, L, D); zero-padded here to `text_len`.
            mask: where to edit, bool or 0 and 1, (B, 1, T, h, w); needs `precision`.
            precision: the factor p of the mask, 0 … P, (B,).
            audio: wav2vec2's hidden states at each video frame, (B, 4 T - 3, states, audio_dim).
            has_audio: bool, (B,), which samples have audio; None where all have.
            clean: bool, what is without noise, and so has t = 0: frames (B, T) or tokens (B, S).
            controls: kind -> latents of a control video, (B, C, T, h, w).
            references: latents of R reference images, (B, C, R, h', w').
            refiner_mask: what the refiner begins with, if that is not `mask`.
            refine: whether to run the refiner; the velocity does not depend on it.
        Raises:
            ValueError: arguments that do not go together.
        """
        size = token_grid(hidden_states)
        start = mask if refiner_mask is None else refiner_mask
        self._check(size[0], timestep, start, precision, audio, clean, references)
        num_tokens = math.prod(size)
        x_BSD = self._embed_video(hidden_states, mask, controls or {})
        temb_BGD, time_BG6D, clean_116D, text_BLD = self._embed_conditions(
            timestep, encoder_hidden_states, with_clean=clean is not None or references is not None
        )
        if clean is not None:
            time_BG6D = torch.where(clean[..., None, None], clean_116D, time_BG6D)
        block_BG6D = self._add_precision(time_BG6D, precision)
        rotary = video_rotary = self.rope(hidden_states)
        if references is not None:
            references_BRD = self._embed_references(references)
            x_BSD = torch.cat([x_BSD, references_BRD], dim=1)
            rotary = self._extend_rotary(rotary, references)
            clean_B16D = self._add_precision(clean_116D, precision).expand(len(x_BSD), -1, -1, -1)
            block_BG6D = torch.cat(
                [
                    per_token(block_BG6D, num_tokens),
                    per_token(clean_B16D, references_BRD.shape[1]),
                ],
                dim=1,
            )
        given = _Given(
            size=size,
            text_BLD=text_BLD,
            block_modulation=_for_blocks(block_BG6D, x_BSD.shape[1]),
            rotary=rotary,
            video_rotary=video_rotary,
            audio=None if audio is None else self.audio_encoder(audio, has_audio),
            time_BG6D=time_BG6D,
        )
        x_BSD, mask_logits = self._run(x_BSD, given, start if refine else None, precision)
        velocity = self._velocity(x_BSD[:, :num_tokens], temb_BGD)
        return EditorOutput(unpatchify(velocity, size), mask_logits)

    def _check(
        self,
        num_frames: int,
        timestep: Tensor,
        mask: Tensor | None,
        precision: Tensor | None,
        audio: Tensor | None,
        clean: Tensor | None,
        references: Tensor | None,
    ) -> None:
        if mask is not None and precision is None:
            raise ValueError("expected the precision factors of the masks, got none")
        video_frames = TEMPORAL_STRIDE * (num_frames - 1) + 1
        if audio is not None and audio.shape[1] != video_frames:
            raise ValueError(f"expected audio at {video_frames} frames, got {audio.shape[1]}")
        if timestep.ndim != 1 and (clean is not None or references is not None):
            raise ValueError("expected one timestep per sample beside `clean` or `references`")
        limit = self.config["reference_frame"]
        if references is not None and num_frames > limit:
            raise ValueError(
                f"expected at most {limit} latent frames beside references, got {num_frames}"
            )

    def _embed_video(
        self, latents_BCThw: Tensor, mask: Tensor | None, controls: Mapping[str, Tensor]
    ) -> Tensor:
        embedded = self.patch_embedding(latents_BCThw)
        if mask is not None:
            embedded = embedded + self.mask_embedding(mask.to(latents_BCThw.dtype))
        for kind, control in controls.items():
            if kind not in self.control_embeddings:
                known = ", ".join(self.control_embeddings) or "none at all"
                raise ValueError(f"expected controls among {known}; got {kind}")
            embedded = embedded + self.control_embeddings[kind](control)
        return to_tokens(embedded)

    def _embed_conditions(
        self, timestep: Tensor, text_BLD: Tensor, *, with_clean: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Time (B, G, D), its modulation (B, G, 6, D), that of t = 0 (1, 1, 6, D), and the text."""
        num_words, limit = text_BLD.shape[1], self.config["text_len"]
        if num_words > limit:
            raise ValueError(f"expected at most {limit} tokens of text, got {num_words}")
        text_BLD = functional.pad(text_BLD, (0, 0, 0, limit - num_words))
        batch_size = len(timestep)
        per_sample = timestep.shape[1] if timestep.ndim == 2 else None
        if with_clean:
            timestep = torch.cat([timestep, timestep.new_zeros(1)])
        temb, modulation, text_BLD, _ = self.condition_embedder(
            timestep.flatten(), text_BLD, timestep_seq_len=per_sample
        )
        modulation = modulation.unflatten(-1, (6, -1))
        if per_sample is None:
            temb, modulation = temb[:, None], modulation[:, None]
        return temb[:batch_size], modulation[:batch_size], modulation[batch_size:], text_BLD

    def _add_precision(self, modulation_BG6D: Tensor, precision: Tensor | None) -> Tensor:
        if self.precision is None or precision is None:
            return modulation_BG6D
        return cast(Tensor, modulation_BG6D + self.precision(precision)[1])

    def _embed_references(self, references_BCRhw: Tensor) -> Tensor:
        return to_tokens(self.patch_embedding(references_BCRhw)) + self.reference_embedding

    def _extend_rotary(self, rotary: Rotary, references_BCRhw: Tensor) -> Rotary:
        """Positions of the references: frames from `reference_frame` on."""
        _, _, num_references, height, width = references_BCRhw.shape
        until = self.config["reference_frame"] + num_references
        tables = self.rope(torch.empty((1, 1, until, height, width), device="meta"))
        num_tokens = num_references * (height // PATCH) * (width // PATCH)
        cos, sin = (
            torch.cat([video, table[:, -num_tokens:]], dim=1)
            for video, table in zip(rotary, tables, strict=True)
        )
        return cos, sin

    def _run(
        self, x_BSD: Tensor, given: _Given, start: Tensor | None, precision: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """All layers: the tokens of video and references, and the logits of the mask."""
        m_BSD = refiner_BG6D = p_BD = None
        if start is not None:
            m_BSD = to_tokens(self.refiner.patch_embedding(start.to(x_BSD.dtype)))
            p_BD, p_B16D = self.refiner.precision(precision)
            refiner_BG6D = given.time_BG6D + p_B16D
        for index in range(len(self.blocks)):
            layer = (str(index), x_BSD, m_BSD, refiner_BG6D, given)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                recompute: Callable[..., tuple[Tensor, Tensor | None]]
                recompute = cast(Any, self._gradient_checkpointing_func)
                x_BSD, m_BSD = recompute(self._layer, *layer)
            else:
                x_BSD, m_BSD = self._layer(*layer)
        if m_BSD is None:
            return x_BSD, None
        return x_BSD, unpatchify(self.refiner.head(m_BSD, p_BD), given.size)

    def _layer(
        self,
        index: str,
        x_BSD: Tensor,
        m_BSD: Tensor | None,
        refiner_BG6D: Tensor | None,
        given: _Given,
    ) -> tuple[Tensor, Tensor | None]:
        """A block of video, the audio that it hears, and the refiner's block at its side."""
        num_tokens = math.prod(given.size)
        block = self.blocks[int(index)]
        x_BSD = block(x_BSD, given.text_BLD, given.block_modulation, given.rotary)
        if given.audio is not None and index in self.audio_injections:
            heard = self.audio_injections[index](x_BSD[:, :num_tokens], given.audio)
            x_BSD = x_BSD + functional.pad(heard, (0, 0, 0, x_BSD.shape[1] - num_tokens))
        if m_BSD is not None and index in self.refiner.blocks:
            m_BSD = self.refiner.blocks[index](
                m_BSD,
                x_BSD[:, :num_tokens],
                refiner_BG6D,
                given.video_rotary,
                given.size[0],
                given.audio,
            )
        return x_BSD, m_BSD

    def _velocity(self, x_BSD: Tensor, temb_BGD: Tensor) -> Tensor:
        shift, scale = (self.scale_shift_table[:, None] + temb_BGD[:, :, None]).unbind(dim=2)
        x_BSD = modulate(self.norm_out(x_BSD.float()), shift, scale).type_as(x_BSD)
        return cast(Tensor, self.proj_out(x_BSD))


def _for_blocks(modulation_BG6D: Tensor, num_tokens: int) -> Tensor:
    """As Wan's blocks take it: the same for all tokens, or for each its own."""
    if modulation_BG6D.shape[1] == 1:
        return modulation_BG6D[:, 0]
    return per_token(modulation_BG6D, num_tokens)
