"""Models that turn video, text and sound into what the network is given.

Each takes one clip at a time, so that its features do not depend on what else is in a batch.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from transformers import (
    AutoFeatureExtractor,
    AutoTokenizer,
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
from avipipe.annotators.reading import reading
from avipipe.editor.avi_edit.data.clip import Clip
from avipipe.editor.avi_edit.data.config import EncoderConfig
from avipipe.editor.avi_edit.sizes import EditorConfig
from avipipe.editor.common.dtypes import DTYPES
from avipipe.weights.digests import digest

# Untyped in their libraries.
_VAE: Any = AutoencoderKLWan
_EXTRACTOR: Any = Wav2Vec2FeatureExtractor

_REMEDY = (
    "Run: avipipe weights pull wan22_ti2v_5b wav2vec2; or name other folders under data.encoders"
)
TINY = "tiny-1"
"""What identifies the tiny encoders; raised whenever their features would change."""


class Latents(NamedTuple):
    """What the VAE makes of a video, normalised: a Gaussian for each value, (C, T, h, w).

    The variance may be left out where only the mode is asked for.
    """

    mean: Tensor
    logvar: Tensor | None


@dataclass(frozen=True, slots=True)
class VideoEncoder:
    """Wan's VAE. `identity`: what its weights hash to, and the type that it computes in."""

    model: Any
    identity: str

    @torch.no_grad()
    def encode(self, video_FHWC: Tensor) -> Latents:
        """Encode uint8 RGB, F = 4 n + 1."""
        video = video_FHWC.to(self.model.device).permute(3, 0, 1, 2)
        video_1CFHW = video.float().div_(127.5).sub_(1).to(self.model.dtype)[None]
        found = self.model.encode(video_1CFHW).latent_dist
        mean, std = self._scales()
        normalised = (found.mean[0].float() - mean) / std
        logvar = found.logvar[0].float() - 2 * std.log()
        return Latents(*(x.to(self.model.dtype).cpu() for x in (normalised, logvar)))

    @torch.no_grad()
    def decode(self, latents_CThw: Tensor) -> Tensor:
        """Uint8 RGB (F, H, W, 3), F = 4 T - 3, of normalised latents."""
        mean, std = self._scales()
        latents = latents_CThw.to(self.model.device, torch.float32) * std + mean
        video_CFHW = self.model.decode(latents[None].to(self.model.dtype)).sample[0].float()
        pixels_CFHW: Tensor = video_CFHW.add_(1).mul_(127.5).round_().clamp_(0, 255).byte()
        return pixels_CFHW.permute(1, 2, 3, 0).cpu()

    def _scales(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel of latents, (C, 1, 1, 1)."""
        config = self.model.config
        mean, std = (
            torch.tensor(values, device=self.model.device).view(-1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """UMT5, which turns captions into hidden states."""

    tokenizer: Any
    model: Any
    max_tokens: int
    identity: str

    @torch.no_grad()
    def encode(self, text: str) -> Tensor:
        """The last hidden states, (L, D), of `max_tokens` at most, without padding."""
        tokens = self.tokenizer(
            clean(text), truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        states: Tensor = self.model(tokens.input_ids.to(self.model.device)).last_hidden_state[0]
        return states.cpu()


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


def clean(text: str) -> str:
    """A text as the encoder is given it: single spaces."""
    return " ".join(text.split())


def load_encoders(config: EncoderConfig, device: torch.device | str = "cpu") -> Encoders:
    """The encoders, on a device, in evaluation mode.

    Raises:
        WeightsError: a weight is missing or not whole.
    """
    if config.preset == "tiny":
        return tiny_encoders(device)
    wan = _wan(config)
    hearing = config.wav2vec2 or weights.locate("wav2vec2")
    dtype, type_name = DTYPES[config.precision], config.precision
    video = load_video_encoder(config, device)
    text = read_model(UMT5EncoderModel, wan / "text_encoder", remedy=_REMEDY, dtype=dtype)
    audio = read_model(Wav2Vec2Model, hearing, remedy=_REMEDY, dtype=torch.float32)
    tokenizer = _read_part(AutoTokenizer, wan / "tokenizer")
    extractor = _read_part(AutoFeatureExtractor, hearing)
    max_tokens = EditorConfig().text_len
    return Encoders(
        video,
        TextEncoder(
            tokenizer,
            _ready(text, device),
            max_tokens,
            _identity(f"{type_name} {max_tokens}", wan / "text_encoder", wan / "tokenizer"),
        ),
        AudioEncoder(extractor, _ready(audio, device), dtype, _identity(type_name, hearing)),
    )


def load_video_encoder(config: EncoderConfig, device: torch.device | str = "cpu") -> VideoEncoder:
    """Load the VAE without the other encoders.

    Raises:
        WeightsError: a weight is missing or not whole.
    """
    if config.preset == "tiny":
        return tiny_encoders(device).video
    folder = _wan(config) / "vae"
    model = read_model(_VAE, folder, remedy=_REMEDY, torch_dtype=DTYPES[config.precision])
    return VideoEncoder(_ready(model, device), _identity(config.precision, folder))


def tiny_encoders(device: torch.device | str = "cpu") -> Encoders:
    """Random encoders of the real kinds, for the network `tiny`."""
    sizes = EditorConfig.preset("tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        video = _VAE(
            base_dim=4,
            z_dim=sizes.in_channels,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.1] * sizes.in_channels,
            latents_std=[0.5] * sizes.in_channels,
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=16,
        )
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
        VideoEncoder(_ready(video, device), TINY),
        TextEncoder(ByT5Tokenizer(), _ready(text, device), sizes.text_len, TINY),
        AudioEncoder(_EXTRACTOR(do_normalize=True), _ready(audio, device), torch.float32, TINY),
    )


def _wan(config: EncoderConfig) -> Path:
    return config.wan or weights.locate("wan22_ti2v_5b")


def _ready(model: Any, device: torch.device | str) -> Any:
    return model.requires_grad_(False).eval().to(device)


def _read_part(kind: Any, folder: Path) -> Any:
    with reading(folder, f"what {kind.__name__} reads", _REMEDY):
        return kind.from_pretrained(folder, local_files_only=True)


def _identity(settings: str, *folders: Path) -> str:
    """What the features of a model in some folders depend on."""
    names = [
        f"{digest(path)}  {folder.name}/{path.relative_to(folder).as_posix()}"
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".json", ".safetensors", ".model", ".bin")
    ]
    return hashlib.sha256("\n".join([settings, *names]).encode()).hexdigest()
