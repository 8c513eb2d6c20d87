"""Hearing: wav2vec2's hidden states become a few tokens per latent frame, which frames attend to.

Source: Wan2.2-S2V (`CausalAudioEncoder`, `AudioInjector_WAN`), as released with AVI-Edit.
"""

from typing import NamedTuple

import torch
from diffusers.models.normalization import FP32LayerNorm
from torch import Tensor, nn
from torch.nn import functional

from avipipe.editor.avi_edit.network.attention import by_frame, cross_attention, mute
from avipipe.editor.avi_edit.network.modulation import modulate
from avipipe.editor.avi_edit.sizes import TEMPORAL_STRIDE

KERNEL = 3
"""States that a causal convolution sees, as released."""


class AudioTokens(NamedTuple):
    """What a clip sounds like, latent frame by latent frame.

    Attributes:
        local_BTKD: tokens that are attended to; the last one is learnt, the same for all.
        overall_BTD: one token that sums the frame up, and shifts and scales the video.
        present_B: bool, which samples of the batch have audio; None where all have.
    """

    local_BTKD: Tensor
    overall_BTD: Tensor
    present_B: Tensor | None

    def attend(self, attention: nn.Module, query_BSD: Tensor) -> Tensor:
        """Let the tokens of each latent frame attend to the audio of the same frame.

        A sample without audio gets zeros.
        """
        query = by_frame(query_BSD, self.local_BTKD.shape[1])
        heard: Tensor = attention(query, self.local_BTKD.flatten(0, 1))
        heard_BSD = heard.reshape(query_BSD.shape)
        if self.present_B is None:
            return heard_BSD
        return torch.where(self.present_B[:, None, None], heard_BSD, 0)


class CausalConv(nn.Conv1d):
    """A convolution that sees the present and the past, which starts as it begins."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, KERNEL, stride=stride)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """(B, C, T) to (B, C', floor((T - 1) / stride) + 1)."""
        return super().forward(functional.pad(x_BCT, (KERNEL - 1, 0), mode="replicate"))


class AudioProjector(nn.Module):
    """Mixes wav2vec2's hidden states, and halves their rate twice.

    Latent frame j hears the video frames 4j - 8 to 4j, and none after.
    """

    def __init__(self, dim: int, audio_dim: int, num_states: int, num_tokens: int) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.state_weights = nn.Parameter(torch.empty(num_states))
        self.padding_token = nn.Parameter(torch.empty(dim))
        self.conv1_local = CausalConv(audio_dim, dim // 4 * num_tokens)
        self.conv1_overall = CausalConv(audio_dim, dim // 4)
        self.conv2 = CausalConv(dim // 4, dim // 2, stride=2)
        self.conv3 = CausalConv(dim // 2, dim, stride=2)
        self.norm1 = FP32LayerNorm(dim // 4, 1e-6, elementwise_affine=False)
        self.norm2 = FP32LayerNorm(dim // 2, 1e-6, elementwise_affine=False)
        self.norm3 = FP32LayerNorm(dim, 1e-6, elementwise_affine=False)
        self.proj_overall = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All hidden states alike."""
        nn.init.constant_(self.state_weights, 0.01)
        nn.init.zeros_(self.padding_token)

    def forward(self, audio_BFLC: Tensor, present_B: Tensor | None = None) -> AudioTokens:
        """Encode the hidden states at each video frame.

        Args:
            audio_BFLC: L hidden states of width C at each of F = 4 n + 1 video frames.
            present_B: bool, which samples have audio; None where all have.
        Returns:
            tokens of n + 1 latent frames.
        """
        mix_BCF = self.mix(audio_BFLC)
        local = self.conv1_local(mix_BCF).reshape(
            len(mix_BCF) * self.num_tokens, -1, mix_BCF.shape[-1]
        )
        local = self._downsample(local)
        local_BTKD = local.reshape(-1, self.num_tokens, *local.shape[1:]).transpose(1, 2)
        padding = self.padding_token.expand(*local_BTKD.shape[:2], 1, -1)
        return AudioTokens(
            torch.cat([local_BTKD, padding], dim=2),
            self.proj_overall(self._downsample(self.conv1_overall(mix_BCF))),
            present_B,
        )

    def mix(self, audio_BFLC: Tensor) -> Tensor:
        """The weighted mean of the hidden states, (B, C, F)."""
        if audio_BFLC.shape[1] % TEMPORAL_STRIDE != 1:
            raise ValueError(f"expected audio at 4 n + 1 frames, got {audio_BFLC.shape[1]}")
        weights_L = functional.silu(self.state_weights)
        return torch.einsum("bflc,l->bcf", audio_BFLC, weights_L / weights_L.sum())

    def _downsample(self, x_NCF: Tensor) -> Tensor:
        """(N, D / 4, 4 n + 1) to (N, n + 1, D)."""
        x = functional.silu(self.norm1(x_NCF.mT))
        x = functional.silu(self.norm2(self.conv2(x.mT).mT))
        return functional.silu(self.norm3(self.conv3(x.mT).mT))


class AudioInjection(nn.Module):
    """Adds to each latent frame of video what it hears; nothing at first."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.norm = FP32LayerNorm(dim, 1e-5, elementwise_affine=False)
        self.modulation = nn.Linear(dim, 2 * dim)
        self.act = nn.SiLU()
        self.attn = cross_attention(dim, num_heads, eps)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Adds zeros; the norm is all but left alone, so that gradient gets behind it at once."""
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)
        mute(self.attn)

    def forward(self, video_BSD: Tensor, audio: AudioTokens) -> Tensor:
        """What is to be added to the tokens of video."""
        return audio.attend(self.attn, self.normalise(video_BSD, audio))

    def normalise(self, video_BSD: Tensor, audio: AudioTokens) -> Tensor:
        """Normalise video, then shift and scale each frame by how it sounds overall."""
        shift_BTD, scale_BTD = self.modulation(self.act(audio.overall_BTD)).chunk(2, dim=-1)
        return modulate(self.norm(video_BSD.float()), shift_BTD, scale_BTD).type_as(video_BSD)
