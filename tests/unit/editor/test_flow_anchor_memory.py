"""The plan of FlowAnchor's memory against what the models really hold."""

import pytest
import torch

from avipipe.editor.common.codec import config_of
from avipipe.editor.common.memory import GIB, peak_bytes
from avipipe.editor.common.needs import plan_memory
from avipipe.editor.flow_anchor.config import WanConfig
from avipipe.editor.flow_anchor.memory import measure
from avipipe.editor.flow_anchor.sar import Anchors, anchored
from tests.wan_models import NETWORK, VAE, network, vae

CPU = torch.device("cpu")
SIZE, FRAMES = (96, 64), 21
CELLS = (6, 8, 12)

ENCODERS = (254_000_000, 11_360_000_000)
"""Bytes of Wan2.1's VAE and UMT5 in bf16."""


@torch.no_grad()
def test_the_plan_is_what_the_tiny_models_hold() -> None:
    model, coder = network(), vae()
    planned = measure(dict(model.config), config_of(coder), SIZE, FRAMES, "fp32", (1, 2))
    latents, text = torch.zeros(1, 4, *CELLS), torch.zeros(1, 512, model.config.text_dim)
    words, inside = torch.ones(512).bool(), torch.ones(6 * 4 * 6).bool()
    with anchored(model, Anchors(words, inside, 0.3, 0.3)):
        solving = peak_bytes(model, lambda: model(latents, torch.ones(1), text))
    assert planned.solving == pytest.approx(solving + 8 * latents.nbytes, rel=0.05)
    decoding = peak_bytes(coder, lambda: coder.decode(latents))
    assert decoding <= planned.decoding <= 1.25 * decoding
    assert planned.network == sum(weight.nbytes for weight in model.parameters())


def test_a_480p_video_fits_16_gb_once_models_wait() -> None:
    with torch.device("meta"):  # diffusers' defaults are Wan2.1's 14B, and its VAE
        wan = dict(NETWORK(num_attention_heads=12, ffn_dim=8960, num_layers=30).config)
        coder = config_of(VAE())
    needs = measure(wan, coder, (832, 480), 81, "bf16", ENCODERS)
    assert 2.5 * GIB < needs.network < 2.8 * GIB
    assert not plan_memory(WanConfig(), needs, CPU, available_bytes=16 * GIB).fits
    waiting = WanConfig(offload="models")
    assert plan_memory(waiting, needs, CPU, available_bytes=16 * GIB).fits
