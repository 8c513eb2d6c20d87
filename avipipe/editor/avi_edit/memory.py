"""The memory plan of editing: what the models hold, each at its work."""

from collections.abc import Mapping
from typing import Any

import torch

from avipipe import weights
from avipipe.editor.avi_edit.checkpoints import Checkpoint
from avipipe.editor.avi_edit.data.config import EncoderConfig
from avipipe.editor.avi_edit.data.encoders import REMEDY, tiny_encoders
from avipipe.editor.avi_edit.network.loading import blank, blank_clip
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.common.codec import config_of, read_config
from avipipe.editor.common.dtypes import DTYPES
from avipipe.editor.common.memory import peak_bytes, weight_bytes, without_storage
from avipipe.editor.common.needs import Needs, decoding_needs, num_weights


def measure(checkpoint: Checkpoint, bucket: Bucket) -> Needs:
    """What the models of a checkpoint need for clips of a size.

    Raises:
        WeightsError: the encoders' weights are missing.
    """
    encoders = checkpoint.encoders
    vae_config, encoders_bytes = _read_encoders(encoders)
    return measure_sizes(
        checkpoint.sizes(),
        bucket,
        vae_config=vae_config,
        dtype=DTYPES[checkpoint.precision],
        vae_dtype=DTYPES[encoders.precision],
        encoders_bytes=encoders_bytes,
    )


def measure_sizes(
    sizes: EditorConfig,
    bucket: Bucket,
    *,
    vae_config: Mapping[str, Any],
    dtype: torch.dtype,
    vae_dtype: torch.dtype,
    encoders_bytes: tuple[int, int, int],
) -> Needs:
    """What models of given sizes need.

    Args:
        vae_config: of the VAE or codec, as `blank_codec` takes it.
        encoders_bytes: of the weights of VAE, text and sound.
    """
    with torch.device("meta"):
        model = blank(sizes)
    network, blocks = (weight_bytes(part, dtype) for part in (model, model.blocks))
    vae, text, sound = encoders_bytes
    size = (bucket.width_px, bucket.height_px)
    decoding, decoding_tiles = decoding_needs(vae_config, size, bucket.num_frames, vae_dtype)
    return Needs(
        network=network,
        blocks=blocks,
        block=blocks // sizes.num_layers,
        vae=vae,
        readers={"reading text": text, "hearing": sound},
        solving=_solving_bytes(sizes, bucket, dtype),
        decoding=decoding,
        decoding_tiles=decoding_tiles,
    )


def _solving_bytes(sizes: EditorConfig, bucket: Bucket, dtype: torch.dtype) -> int:
    """Of the network; layers hold nothing once they are through, so that a few show it all."""
    few = {"num_layers": 2, "audio_layers": (0, 1), "gamr_layers": (0, 1)}
    with without_storage(dtype), torch.no_grad():
        model, clip = blank(sizes.model_copy(update=few)), blank_clip(sizes, bucket)
        return peak_bytes(model, lambda: model(**clip))


def _read_encoders(config: EncoderConfig) -> tuple[Mapping[str, Any], tuple[int, int, int]]:
    """The configuration of the VAE, and the bytes of the weights of VAE, text and sound."""
    if config.preset == "tiny":
        tiny = tiny_encoders()
        vae, text, sound = (
            weight_bytes(part.model) for part in (tiny.video, tiny.text, tiny.audio)
        )
        return config_of(tiny.video.model), (vae, text, sound)
    wan = config.wan or weights.locate("wan22_ti2v_5b")
    hearing = config.wav2vec2 or weights.locate("wav2vec2")
    size = DTYPES[config.precision].itemsize
    return read_config(wan, REMEDY), (
        size * num_weights(wan / "vae"),
        size * num_weights(wan / "text_encoder"),
        torch.float32.itemsize * num_weights(hearing),
    )
