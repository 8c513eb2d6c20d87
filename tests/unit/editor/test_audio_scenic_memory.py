"""The plan of AudioScenic's memory against what the models really hold."""

import pytest
import torch

from avipipe.editor.audio_scenic.config import ScenicModelsConfig
from avipipe.editor.audio_scenic.frequency import LowPass
from avipipe.editor.audio_scenic.hearing import NUM_BANDS, Heard
from avipipe.editor.audio_scenic.inflate import inflate, tuned
from avipipe.editor.audio_scenic.memory import CONTROLNET, UNET, ScenicSizes, measure
from avipipe.editor.audio_scenic.network import SceneNetwork
from avipipe.editor.common.image_codec import IMAGE_VAE
from avipipe.editor.common.memory import GIB, peak_bytes
from avipipe.editor.common.needs import plan_memory
from tests.scenic_models import TEXT_DIM, controlnet, unet, vae

CPU = torch.device("cpu")
SIZE, FRAMES, CELLS = (96, 64), 9, (8, 12)

READERS = {"hearing": 614_000_000, "seeing depth": 99_200_000}
"""Bytes of CLAP and Depth Anything."""


def test_the_plan_is_what_the_tiny_models_hold() -> None:
    sizes = ScenicSizes(dict(unet().config), dict(controlnet().config), dict(vae().config))
    planned = measure(sizes, 8, SIZE, FRAMES, "fp32", {})
    video = inflate(unet(), 8, LowPass(0.25, 0.25)).requires_grad_(False)
    video.enable_gradient_checkpointing()
    weights = tuned(video).values()
    for weight in weights:
        weight.requires_grad_(True)
    network = SceneNetwork(video, controlnet(), torch.zeros(1, 77, TEXT_DIM), torch.float32, 1.0)
    latents, shapes = torch.zeros(FRAMES, 4, *CELLS), torch.zeros(FRAMES, 3, *SIZE[::-1])
    heard = Heard(
        torch.ones(8),
        torch.ones(FRAMES),
        torch.ones(FRAMES, NUM_BANDS),
        torch.ones(FRAMES, 1, *CELLS),
    )
    tuning = peak_bytes(
        video, lambda: torch.autograd.backward(network.says(latents, 0, heard).sum())
    )
    adam = sum(2 * weight.nbytes for weight in weights)
    assert planned.tuning == pytest.approx(tuning + adam + 4 * latents.nbytes, rel=0.1)
    with torch.no_grad():
        both = torch.nn.ModuleList([video, network.controlnet])
        solving = peak_bytes(both, lambda: network.says(latents, 0, heard, shapes))
    assert planned.solving == pytest.approx(solving + 4 * latents.nbytes + shapes.nbytes, rel=0.1)
    assert planned.network == sum(weight.nbytes for weight in both.parameters())


@pytest.mark.slow
def test_a_second_at_768_pixels_fits_24_gb() -> None:
    levels = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
    kinds = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    with torch.device("meta"):  # diffusers' defaults are Stable Diffusion's, but for its words
        networks = (kind(cross_attention_dim=768) for kind in (UNET, CONTROLNET))
        models = (*networks, IMAGE_VAE(**levels, **kinds, sample_size=512))
        sizes = ScenicSizes(*(dict(model.config) for model in models))
    needs = measure(sizes, 512, (768, 768), 24, "bf16", READERS)
    assert 4.5 * GIB < needs.network < 5 * GIB
    whole, waiting = ScenicModelsConfig(), ScenicModelsConfig(offload="models")
    assert plan_memory(whole, needs, CPU, available_bytes=24 * GIB).fits
    assert not plan_memory(whole, needs, CPU, available_bytes=22 * GIB).fits
    assert plan_memory(waiting, needs, CPU, available_bytes=22 * GIB).fits
