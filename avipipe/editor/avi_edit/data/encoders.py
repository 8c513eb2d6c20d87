"""Models that turn video, text and sound into what the network is given.

Each takes one clip at a time, so that its features do not depend on what else is in a batch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import (
    AutoFeatureExtractor,
    ByT5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from avipipe import weights
from avipipe.annotators.base import HEARING_HZ
from avipipe.annotators.loading import read_model
from avipipe.editor.avi_edit.data.clip import Clip
from avipipe.editor.avi_edit.data.config import EncoderConfig
from avipipe.editor.avi_edit.sizes import SPATIAL_STRIDE, EditorConfig
from avipipe.editor.common.codec import Latents, VideoEncoder, load_codec
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.patch_codec import PatchCodec
from avipipe.editor.common.pretrained import identity_of, read_part, ready
from avipipe.editor.common.text import TextEncoder, load_text_encoder

_EXTRACTOR: Any = Wav2Vec2FeatureExtractor
"""Untyped in its library."""

REMEDY = (
    "Run: avipipe weights pull wan22_ti2v_5b wav2vec2; or name other folders under data.encoders"
)
"""What to do where these encoders are not."""

TINY = "tiny-2"
"""What identifies the tiny encoders; raised whenever their features would change."""


@dataclass(frozen=True, slots=True)
class AudioEncoder:
    """wav2vec2, which computes in float32; `dtype` is that of its states."""

    extractor: Any
    model: Any
    dtype: torch.dtype
    identity: str

    @property
    def shape(self) -> tuple[int, int]:
        """Number and width of the hidden states."""
        return self.model.config.num_hidden_layers + 1, self.model.config.hidden_size

    @torch.no_grad()
    def encode(self, wave_N: Tensor) -> Tensor:
        """All hidden states of sound at 16 kHz, (states, time at 50 Hz, width)."""
        inputs = self.extractor(
            wave_N.numpy(), sampling_rate=HEARING_HZ, return_tensors="pt"
        ).input_values
        found = self.model(inputs.to(self.model.device), output_hidden_states=True)
        return torch.cat(found.hidden_states).to(self.dtype).cpu()


@dataclass(frozen=True, slots=True)
class Encoders:
    """All that features are made with, and a source of them: on the fly."""

    video: VideoEncoder
    text: TextEncoder
    audio: AudioEncoder
    needs_media: ClassVar[bool] = True

    @property
    def audio_shape(self) -> tuple[int, int]:
        """Number and width of the hidden states of sound."""
        return self.audio.shape

    @property
    def num_bytes(self) -> int:
        """Bytes of all weights."""
        models = (self.video.model, self.text.model, self.audio.model)
        return sum(weight.nbytes for model in models for weight in model.parameters())

    def latents_of(self, clip: Clip) -> Latents:
        """Latents of a clip's pictures."""
        assert clip.video_FHWC is not None
        return self.video.encode(clip.video_FHWC)

    def states_of(self, clip: Clip) -> Tensor:
        """Hidden states of a clip's sound."""
        assert clip.wave_N is not None
        return self.audio.encode(clip.wave_N)

    def text_of(self, text: str) -> Tensor:
        """Hidden states of a caption."""
        return self.text.encode(text)


def load_encoders(config: EncoderConfig, device: torch.device | str = "cpu") -> Encoders:
    """The encoders, on a device, in evaluation mode.

    Raises:
        WeightsError: a weight is missing or not whole.
    """
    if config.preset == "tiny":
        return tiny_encoders(device)
    wan, precision = _wan(config), config.precision
    hearing = config.wav2vec2 or weights.locate("wav2vec2")
    video = load_video_encoder(config, device)
    text = load_text_encoder(wan, precision, device, remedy=REMEDY)
    audio = read_model(Wav2Vec2Model, hearing, remedy=REMEDY, dtype=torch.float32)
    extractor = read_part(AutoFeatureExtractor, hearing, REMEDY)
    identity = identity_of(precision, hearing)
    return Encoders(
        video, text, AudioEncoder(extractor, ready(audio, device), DTYPES[precision], identity)
    )


def load_video_encoder(config: EncoderConfig, device: torch.device | str = "cpu") -> VideoEncoder:
    """Load the VAE without the other encoders.

    Raises:
        WeightsError: a weight is missing or not whole.
    """
    if config.preset == "tiny":
        return tiny_encoders(device).video
    return load_codec(_wan(config), config.precision, device, remedy=REMEDY)


def tiny_encoders(device: torch.device | str = "cpu") -> Encoders:
    """For the network `tiny`: random encoders of text and sound, and a codec one can see by."""
    sizes = EditorConfig.preset("tiny")
    video = PatchCodec(z_dim=sizes.in_channels, scale_factor_spatial=SPATIAL_STRIDE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text = UMT5EncoderModel(
            UMT5Config(
                vocab_size=384,
                d_model=sizes.text_dim,
                d_kv=8,
                d_ff=32,
                num_layers=2,
                num_heads=2,
                dropout_rate=0.0,
            )
        )
        audio = Wav2Vec2Model(
            Wav2Vec2Config(
                hidden_size=sizes.audio_dim,
                num_hidden_layers=sizes.num_audio_states - 1,
                num_attention_heads=2,
                intermediate_size=16,
                conv_dim=(8,) * 7,
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                num_conv_pos_embeddings=16,
                num_conv_pos_embedding_groups=2,
            )
        )
    return Encoders(
        VideoEncoder(ready(video, device), TINY),
        TextEncoder(ByT5Tokenizer(), ready(text, device), sizes.text_len, TINY),
        AudioEncoder(_EXTRACTOR(do_normalize=True), ready(audio, device), torch.float32, TINY),
    )


def _wan(config: EncoderConfig) -> Path:
    return config.wan or weights.locate("wan22_ti2v_5b")
