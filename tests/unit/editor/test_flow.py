"""The path between a sample and noise."""

import math

import pytest
import torch
from torch import Tensor

from avipipe.editor.common.flow import (
    SigmaLaw,
    draw_noise,
    draw_sigmas,
    noisy_latents,
    sample_generator,
    shift_sigma,
    velocity_target,
)

SHAPE = (4, 3, 4, 6)


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [sample_generator(seed, number) for number in range(count)]


def batch(count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    latents = draw_noise(SHAPE, generators(count, seed=1))
    mask = torch.zeros(count, 1, *SHAPE[1:], dtype=torch.bool)
    mask[:, :, :, 1:3, 2:5] = True
    return latents, draw_noise(SHAPE, generators(count)), mask


def test_a_sample_draws_the_same_in_any_batch() -> None:
    together = draw_noise(SHAPE, generators(3))
    alone = draw_noise(SHAPE, [sample_generator(0, 2)])
    assert torch.equal(together[2], alone[0])
    assert not torch.equal(together[0], together[1])
    other = draw_noise(SHAPE, [sample_generator(0, 2, "validation")])
    assert not torch.equal(other, alone)


def test_the_shift_keeps_the_ends_and_inverts() -> None:
    sigma = torch.linspace(0, 1, 11)
    shifted = shift_sigma(sigma, 5.0)
    assert shifted[0] == 0
    assert shifted[-1] == 1
    assert shifted[5] == pytest.approx(5 / 6)
    torch.testing.assert_close(shift_sigma(shifted, 1 / 5), sigma)


def test_logit_normal_levels_follow_their_law() -> None:
    law = SigmaLaw(mean=0.3, std=0.7, shift=3.0)
    sigma = draw_sigmas(law, generators(1) * 20_000)
    logits = torch.logit(shift_sigma(sigma, 1 / 3))
    assert logits.mean().item() == pytest.approx(0.3, abs=0.02)
    assert logits.std().item() == pytest.approx(0.7, abs=0.02)


def test_uniform_levels_are_uniform_before_the_shift() -> None:
    base = draw_sigmas(SigmaLaw(kind="uniform", shift=1.0), generators(1) * 20_000)
    assert base.mean().item() == pytest.approx(0.5, abs=0.01)
    assert base.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.01)


def test_outside_of_the_mask_latents_stay_bit_for_bit() -> None:
    latents, noise, mask = batch()
    noisy = noisy_latents(latents, noise, torch.tensor([0.3, 0.9]), mask)
    outside = ~mask.expand_as(latents)
    assert torch.equal(noisy[outside], latents[outside])
    assert not torch.isclose(noisy[~outside], latents[~outside]).all()


def test_the_path_runs_from_the_sample_to_noise() -> None:
    latents, noise, mask = batch()
    everywhere = torch.ones_like(mask)
    assert torch.equal(noisy_latents(latents, noise, torch.zeros(2), everywhere), latents)
    assert torch.equal(noisy_latents(latents, noise, torch.ones(2), everywhere), noise)


def test_the_target_is_the_derivative_of_the_path() -> None:
    latents, noise, mask = (part.double() for part in batch())
    low, high = (
        noisy_latents(latents, noise, torch.full((2,), sigma).double(), torch.ones_like(mask))
        for sigma in (0.4, 0.6)
    )
    torch.testing.assert_close((high - low) / 0.2, velocity_target(latents, noise))


def test_one_euler_step_along_the_target_restores_the_sample() -> None:
    latents, noise, mask = batch()
    sigma = torch.tensor([0.3, 0.9])
    noisy = noisy_latents(latents, noise, sigma, mask)
    restored = noisy - sigma.view(-1, 1, 1, 1, 1) * velocity_target(latents, noise)
    inside = mask.expand_as(latents)
    torch.testing.assert_close(restored[inside], latents[inside])
