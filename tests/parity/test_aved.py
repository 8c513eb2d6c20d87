"""AvED's losses against the numbers of what it builds on: DDS and CDS, and their toy networks."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from avipipe.editor.aved.contrast import info_nce, patch_nce
from avipipe.editor.aved.optimise import dds_gradient
from avipipe.editor.common.diffusion import Prediction, Schedule

FOLDER = Path(os.environ.get("AVIPIPE_PARITY_DIR", Path(__file__).parents[3] / "shared" / "parity"))
FIXTURE = FOLDER / "metrics" / "dds_cds.npz"

if not FIXTURE.exists():
    pytest.skip(f"{FIXTURE} is not there", allow_module_level=True)

WITH = dict(np.load(FIXTURE))
TEMPERATURE = 0.07
GUIDANCE = 7.5
CUT_WEIGHT, RATE = 3.0, 0.1
"""Of CDS, where the fixture's step has them."""


def given(name: str) -> Tensor:
    return torch.from_numpy(WITH[name])


def close(found: Tensor, name: str, tolerance: float) -> None:
    expected = given(name)
    most = tolerance * float(expected.abs().max())
    torch.testing.assert_close(found.to(expected.dtype), expected, rtol=0, atol=most)


def cuts() -> Iterator[str]:
    for name in WITH:
        if name.startswith("cut") and name.endswith("_ref"):
            yield name.removesuffix("_ref")


@pytest.mark.parametrize("cut", list(cuts()))
def test_patches_are_held_as_cds_holds_them(cut: str) -> None:
    side = int(given(f"{cut}_params")[0])
    source, target = (
        given(f"{cut}_{which}").reshape(1, side, side, -1) for which in ("ref", "trg")
    )
    target.requires_grad_()
    losses = [
        patch_nce(target, source, int(size), given(f"{cut}_ids_ps{size}"), TEMPERATURE)
        for size in given(f"{cut}_patch_sizes")
    ]
    loss = torch.stack(losses).sum()
    assert loss.item() == pytest.approx(float(given(f"{cut}_loss")), rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert target.grad is not None
    close(target.grad.flatten(1, 2), f"{cut}_grad_trg", 2e-4)


def test_each_patch_has_its_loss() -> None:
    found = info_nce(given("nce_ref"), given("nce_trg"), TEMPERATURE)
    close(found, "nce_per_patch", 1e-5)


def told(latents: Tensor, text_LD: Tensor) -> Tensor:
    """What the fixture's stand-in network tells."""
    mean = given("unet_U") @ text_LD.mean(0)
    moved = torch.einsum("oc,bchw->bohw", given("unet_W"), latents)
    return moved + mean.view(1, -1, 1, 1) + float(given("t")) / 1000


def guided(latents: Tensor, which: str) -> Tensor:
    away, towards = (told(latents, text) for text in given(f"text_{which}")[0])
    return away + GUIDANCE * (towards - away)


def noisy(latents: Tensor, schedule: Schedule) -> Tensor:
    return schedule.noisy(latents, given("eps"), int(given("t")))


def schedule_of(prediction: Prediction) -> Schedule:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return Schedule((1 - betas).cumprod(0), prediction)


def changed(prediction: Prediction) -> Tensor:
    schedule, noises = schedule_of(prediction), []
    for which in ("source", "target"):
        seen = noisy(given(f"z_{which}"), schedule)
        noises.append(schedule.noise(seen, guided(seen, which), int(given("t"))))
    return noises[1] - noises[0]


def test_noise_lies_as_stable_diffusion_has_it() -> None:
    alphas = schedule_of("epsilon").kept_T[[50, 333, 500, 777, 949]]
    torch.testing.assert_close(alphas, given("alphas_cumprod_at"), rtol=1e-5, atol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_gradient_of_dds(prediction: Prediction) -> None:
    change = changed(prediction)
    close(dds_gradient(change, 1), f"dds_grad_{prediction}", 2e-4)
    cells = change.shape[-1] * change.shape[-2]
    loss = float((given("z_target") * change).sum() / cells)
    # Its terms all but cancel: float32 leaves as much of them as is allowed here.
    assert loss == pytest.approx(float(given(f"dds_loss_{prediction}")), rel=1e-5, abs=5e-6)


def test_a_step_of_cds() -> None:
    schedule, target = schedule_of("epsilon"), given("z_target").requires_grad_()
    feature = features(noisy(target, schedule), "target")
    close(feature.detach(), "step_trg_feature", 1e-5)
    source = features(noisy(given("z_source"), schedule), "source")
    close(source, "step_ref_feature", 1e-5)
    num, side = int(given("step_square")), int(int(given("step_square")) ** 0.5)
    maps = [each[:, :num].reshape(1, side, side, -1) for each in (feature, source)]
    # Of so few patches all are taken, in an order that does not matter.
    losses = [
        patch_nce(maps[0], maps[1], size, torch.arange((side // size) ** 2), TEMPERATURE)
        for size in (1, 2)
    ]
    loss = torch.stack(losses).sum()
    assert loss.item() == pytest.approx(float(given("step_cut_loss")), rel=1e-5)
    (pulled,) = torch.autograd.grad(CUT_WEIGHT * loss, target)
    close(pulled, "step_cut_grad", 2e-4)
    denoising = dds_gradient(changed("epsilon"), 1)
    close(denoising, "step_dds_grad", 2e-4)
    close(target.detach() - RATE * (denoising + pulled), "step_z_after", 2e-4)


def features(latents: Tensor, which: str) -> Tensor:
    """The stand-in's features of the conditional half."""
    mean = given("unet_U") @ given(f"text_{which}")[0, 1].mean(0)
    seen = functional.tanh(latents) + mean.view(1, -1, 1, 1)
    return torch.einsum("oc,bchw->bohw", given("unet_F"), seen).flatten(2).transpose(1, 2)
