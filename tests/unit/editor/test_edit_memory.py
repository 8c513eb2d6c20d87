"""The plan of an edit's memory against what the models really hold."""

from typing import Any

import pytest
import torch

from avipipe.editor.avi_edit.config import ModelConfig
from avipipe.editor.avi_edit.memory import measure_sizes
from avipipe.editor.avi_edit.network.loading import build
from avipipe.editor.avi_edit.sizes import Bucket, EditorConfig
from avipipe.editor.common.codec import config_of
from avipipe.editor.common.memory import GIB, peak_bytes
from avipipe.editor.common.needs import SLACK, Needs, plan_memory
from avipipe.errors import RunError
from tests.editor_batches import BUCKET
from tests.wan_models import WAN22_VAE, vae

TINY = EditorConfig.preset("tiny")
CPU = torch.device("cpu")
CODER = vae(**WAN22_VAE, z_dim=12)
"""A VAE of few weights, which holds more at its work than the codec of the tiny network."""

WAN_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKLWan",
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}
WAN_ENCODERS = (1_410_000_000, 11_360_000_000, 1_262_000_000)
"""Bytes of Wan's VAE and UMT5 in bf16, and of wav2vec2 in float32."""


@torch.no_grad()
def needs(bucket: Bucket) -> Needs:
    return measure_sizes(
        TINY,
        bucket,
        vae_config=config_of(CODER),
        dtype=torch.float32,
        vae_dtype=torch.float32,
        encoders_bytes=(1, 2, 3),
    )


@torch.no_grad()
def test_the_plan_is_what_the_tiny_models_hold() -> None:
    bucket = Bucket(21, 64, 96)
    planned, model = needs(bucket), build(TINY)
    num_frames, height, width = bucket.latent_size
    given = (torch.zeros(1, 12, num_frames, height, width), torch.ones(1), torch.ones(1, 8, 16))
    conditions = {
        "mask": torch.zeros(1, 1, num_frames, height, width),
        "precision": torch.ones(1),
        "audio": torch.zeros(1, bucket.num_frames, TINY.num_audio_states, TINY.audio_dim),
    }
    solving = peak_bytes(model, lambda: model(*given, **conditions))
    assert planned.solving == pytest.approx(solving, rel=0.05)
    decoding = peak_bytes(CODER, lambda: CODER.decode(given[0]))
    assert planned.decoding == pytest.approx(decoding, rel=0.05)
    assert planned.network == sum(weight.nbytes for weight in model.parameters())


def test_offloading_leaves_the_largest_model() -> None:
    some = Needs(
        network=100,
        blocks=60,
        block=6,
        vae=10,
        readers={"reading text": 80, "hearing": 9},
        solving=20,
        decoding=70,
        decoding_tiles=30,
    )

    def peak(**changes: Any) -> float:
        return max(some.phases(ModelConfig(**changes)).values()) / SLACK

    assert peak() == pytest.approx(199 + 70, abs=1)
    assert peak(tiled_vae=True) == pytest.approx(199 + 30, abs=1)
    assert peak(offload="models") == pytest.approx(100 + 20, abs=1)
    assert peak(offload="blocks") == pytest.approx(max(40 + 12 + 20, 80, 10 + 70), abs=1)


@pytest.fixture(scope="module")
def wan() -> Needs:
    return measure_sizes(
        EditorConfig(),
        Bucket(121, 704, 1280),
        vae_config=WAN_VAE,
        dtype=torch.bfloat16,
        vae_dtype=torch.bfloat16,
        encoders_bytes=WAN_ENCODERS,
    )


def test_720p_fits_24_gb_once_models_wait(wan: Needs) -> None:
    whole = plan_memory(ModelConfig(), wan, CPU, available_bytes=24 * GIB)
    assert not whole.fits
    with pytest.raises(RunError) as caught:
        whole.check()
    assert "--set models.offload=models" in str(caught.value)
    waiting = ModelConfig(offload="models")
    assert plan_memory(waiting, wan, CPU, available_bytes=24 * GIB).fits
    assert plan_memory(waiting, wan, CPU, available_bytes=16 * GIB).fits is False
    by_blocks = ModelConfig(offload="blocks", tiled_vae=True)
    assert plan_memory(by_blocks, wan, CPU, available_bytes=16 * GIB).fits
    assert plan_memory(ModelConfig(), wan, CPU, available_bytes=80 * GIB).fits


def test_longer_clips_need_more() -> None:
    short, long = needs(BUCKET), needs(Bucket(33, 64, 96))
    assert long.solving > 2 * short.solving
    assert long.decoding > short.decoding
    assert long.network == short.network
