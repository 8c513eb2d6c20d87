"""From clips and their features, wherever these come from, to a batch."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from avipipe.editor.avi_edit.audio_features import resample_states
from avipipe.editor.avi_edit.data.batch import Batch
from avipipe.editor.avi_edit.data.clip import Clip
from avipipe.editor.avi_edit.data.config import DataConfig
from avipipe.editor.common.codec import Latents
from avipipe.editor.common.flow import sample_generator
from avipipe.media.normalize import FPS


class Features(Protocol):
    """Where features come from: `Encoders` or a `FeatureCache`."""

    @property
    def needs_media(self) -> bool:
        """Whether clips must come with their pictures and sound."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the models that it holds on the device."""

    @property
    def audio_shape(self) -> tuple[int, int]:
        """Number and width of the hidden states of sound."""

    def latents_of(self, clip: Clip) -> Latents:
        """Latents of a clip's pictures."""

    def states_of(self, clip: Clip) -> Tensor:
        """Hidden states of a clip's sound, (states, time at 50 Hz, width)."""

    def text_of(self, text: str) -> Tensor:
        """Hidden states of a caption, (L, D)."""


def make_batch(clips: Sequence[Clip], features: Features, config: DataConfig) -> Batch:
    """A batch of clips of one bucket."""
    bucket = clips[0].bucket
    assert all(clip.bucket == bucket for clip in clips), "a batch has one shape"
    texts_LD = [features.text_of(clip.text) for clip in clips]
    # Wan pads with zeros, too, and attends to them.
    padded_BLD = pad_sequence([*texts_LD, features.text_of("")], batch_first=True)
    return Batch(
        keys=tuple(clip.sample.key for clip in clips),
        starts=tuple(clip.take.start for clip in clips),
        tasks=tuple(clip.task for clip in clips),
        bucket=bucket,
        latents=torch.stack([_latents(clip, features, config) for clip in clips]),
        mask=torch.stack([clip.mask_Thw for clip in clips])[:, None],
        exact_mask=torch.stack([clip.exact_mask_Thw for clip in clips])[:, None],
        precision=torch.tensor([clip.precision for clip in clips]),
        text=padded_BLD[:-1],
        no_text=padded_BLD[-1:],
        audio=torch.stack([_audio(clip, features, texts_LD[0].dtype) for clip in clips]),
        has_audio=torch.tensor([clip.has_audio for clip in clips]),
    )


def _latents(clip: Clip, features: Features, config: DataConfig) -> Tensor:
    mean, logvar = features.latents_of(clip)
    if config.latents == "mode":
        return mean
    assert logvar is not None, "there is one where it is asked for"
    generator = sample_generator(config.seed, "latents", clip.turn, clip.sample.key)
    noise = torch.randn(mean.shape, generator=generator)
    return (mean.float() + torch.exp(0.5 * logvar.float()) * noise).to(mean.dtype)


def _audio(clip: Clip, features: Features, dtype: torch.dtype) -> Tensor:
    """At each video frame, (F, states, width)."""
    num_frames = clip.take.num_frames
    if not clip.has_audio:
        return torch.zeros(num_frames, *features.audio_shape, dtype=dtype)
    states_LTC = features.states_of(clip).float()
    return resample_states(states_LTC, FPS, num_frames).to(dtype)
