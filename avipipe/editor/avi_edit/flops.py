"""How many floating-point operations the network needs: what a device's use is measured against."""

from dataclasses import dataclass

from avipipe.editor.avi_edit.sizes import PATCH, Bucket, EditorConfig

_KERNEL = 3
_PASSES = 3


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations of products of matrices, two for each multiply-add.

    Attributes:
        backbone: plain Wan, the mask channel and the precision factor.
        audio: encoder and injections.
        refiner: the mask refiner.
    """

    backbone: int
    audio: int
    refiner: int

    @property
    def total(self) -> int:
        """Of the whole network."""
        return self.backbone + self.audio + self.refiner


def forward_flops(config: EditorConfig, bucket: Bucket) -> Flops:
    """One pass over one clip with mask, audio and refiner, without controls and references."""
    return Flops(_backbone(config, bucket), _audio(config, bucket), _refiner(config, bucket))


def step_flops(config: EditorConfig, bucket: Bucket) -> int:
    """One training step on one clip, all weights learning: a pass forward, and two backward.

    What checkpointing computes a second time does not count.
    """
    return _PASSES * forward_flops(config, bucket).total


def _backbone(config: EditorConfig, bucket: Bucket) -> int:
    dim, tokens, words = config.dim, bucket.num_tokens, config.text_len
    block = (
        _attention(dim, tokens, tokens)
        + _attention(dim, tokens, words)
        + _ffn(dim, config.ffn_dim, tokens)
    )
    return (
        _linear(tokens, (config.in_channels + 1) * PATCH**2, dim)
        + _linear(1, config.freq_dim + 7 * dim, dim)
        + _linear(words, config.text_dim + dim, dim)
        + (_precision(dim) if config.backbone_p else 0)
        + config.num_layers * block
        + _linear(tokens, dim, config.in_channels * PATCH**2)
    )


def _audio(config: EditorConfig, bucket: Bucket) -> int:
    dim, num_frames, tokens = config.dim, bucket.num_frames, bucket.num_tokens
    num_latent, heard = bucket.latent_size[0], config.num_audio_tokens
    half = (num_frames + 1) // 2
    encoder = (
        _linear(num_frames, config.num_audio_states, config.audio_dim)
        + _linear(num_frames, _KERNEL * config.audio_dim, dim // 4 * (heard + 1))
        + _linear(half * (heard + 1), _KERNEL * (dim // 4), dim // 2)
        + _linear(num_latent * (heard + 1), _KERNEL * (dim // 2), dim)
        + _linear(num_latent, dim, dim)
    )
    injection = _linear(num_latent, dim, 2 * dim) + _by_frame(dim, tokens, heard + 1, num_latent)
    return encoder + len(config.audio_layers) * injection


def _refiner(config: EditorConfig, bucket: Bucket) -> int:
    dim, tokens, num_latent = config.dim, bucket.num_tokens, bucket.latent_size[0]
    block = (
        _attention(dim, tokens, tokens)
        + _by_frame(dim, tokens, bucket.tokens_per_frame, num_latent)
        + _ffn(dim, config.gamr_ffn_dim, tokens)
        + _by_frame(dim, tokens, config.num_audio_tokens + 1, num_latent)
    )
    around = _linear(tokens, PATCH**2, dim) + _precision(dim) + _linear(tokens, dim, PATCH**2)
    return around + len(config.gamr_layers) * block


def _linear(rows: int, in_features: int, out_features: int) -> int:
    return 2 * rows * in_features * out_features


def _attention(dim: int, queries: int, keys: int) -> int:
    """Four projections, scores and weighted sums."""
    return _linear(2 * queries + 2 * keys, dim, dim) + 2 * _linear(queries, keys, dim)


def _by_frame(dim: int, queries: int, keys: int, num_frames: int) -> int:
    """The same within each of the frames, of which each has so many keys."""
    projections = _linear(2 * queries + 2 * keys * num_frames, dim, dim)
    return projections + 2 * _linear(queries, keys, dim)


def _ffn(dim: int, width: int, tokens: int) -> int:
    return 2 * _linear(tokens, dim, width)


def _precision(dim: int) -> int:
    return _linear(1, 1 + 7 * dim, dim)
