"""The plan of AvED's memory against what the tiny models really hold."""

from pathlib import Path
from typing import Any

import torch

from avipipe.editor.aved.config import AvedModelsConfig, AvedSettings
from avipipe.editor.aved.kinds import ModelKind, ModelPart
from avipipe.editor.aved.memory import JointNeeds, checkpoint_blocks, measure_joint
from avipipe.editor.aved.relevance import watched
from avipipe.editor.common.memory import peak_bytes
from tests.aved_models import CLIP_DIM, coder, picture_network, sound_network

SIZE, FRAMES = (96, 64), 8


def kinds(folder: Path) -> dict[ModelPart, ModelKind]:
    made: dict[ModelPart, tuple[Any, Any]] = {
        "picture": (picture_network(), coder(3, 4)),
        "sound": (sound_network(), coder(1, 3)),
    }
    return {
        part: ModelKind(part, folder, "", dict(network.config), dict(vae.config))
        for part, (network, vae) in made.items()
    }


def test_the_plan_is_what_the_way_there_and_back_holds(tmp_path: Path) -> None:
    network = picture_network().requires_grad_(False)
    latents, text = torch.zeros(1, 4, 16, 24, requires_grad=True), torch.zeros(1, 77, CLIP_DIM)
    sizes = list[int]()

    def there_and_back() -> None:
        with watched(network, 1) as shown:
            network(latents, torch.tensor([1]), text)
        sizes.append(sum(tokens.nbytes for tokens in shown.tokens))
        torch.autograd.grad(shown.tokens, latents, [torch.ones_like(t) for t in shown.tokens])

    checkpoint_blocks(network)
    held = peak_bytes(network, there_and_back)
    given = kinds(tmp_path)
    planned = measure_joint("fp32", AvedSettings(), given, SIZE, FRAMES)
    # Two grids: the tokens of source and target, and the target's once more with their gradient.
    tokens = 2 * 4 * sizes[0]
    assert planned.denoising >= held + tokens
    assert planned.denoising < 2 * (held + tokens)
    assert planned.networks == sum(
        weight.nbytes for each in (network, sound_network()) for weight in each.parameters()
    )


def test_what_waits_is_not_on_the_device() -> None:
    needs = JointNeeds(networks=40, others=30, denoising=20, decoding=9, decoding_tiles=5)
    assert needs.phases(AvedModelsConfig()) == {"reading and coding": 87, "denoising": 99}
    waiting = AvedModelsConfig(offload="models", tiled_vae=True)
    assert needs.phases(waiting) == {"reading and coding": 38, "denoising": 66}


def test_padding_is_no_ones_place_while_blocks_are_computed_anew() -> None:
    """diffusers 0.42.1 itself fails here, or looks at the padding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = sound_network().requires_grad_(False).eval()
    given = {
        "encoder_hidden_states": torch.randn(1, 8, 24, generator=torch.Generator().manual_seed(1)),
        "encoder_hidden_states_1": torch.randn(
            1, 6, 32, generator=torch.Generator().manual_seed(2)
        ),
        "encoder_attention_mask_1": torch.tensor([[1, 1, 1, 1, 0, 0]]),
    }
    latents = torch.randn(1, 4, 8, 4, generator=torch.Generator().manual_seed(3))
    plain = network(latents, torch.tensor([5]), **given).sample
    checkpoint_blocks(network)
    anew = network(latents.requires_grad_(), torch.tensor([5]), **given).sample
    torch.testing.assert_close(anew, plain, rtol=1e-5, atol=1e-6)
    (pull,) = torch.autograd.grad(anew.sum(), latents)
    assert pull.abs().max() > 0
