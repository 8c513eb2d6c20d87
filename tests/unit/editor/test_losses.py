"""What training minimises."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from avipipe.editor.avi_edit.losses import (
    DropConfig,
    LossConfig,
    draw_dropped,
    flow_errors,
    focal_loss,
    training_losses,
)
from avipipe.editor.common.flow import sample_generator


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal_loss_is_torchvisions(alpha: float, gamma: float) -> None:
    ops = pytest.importorskip("torchvision.ops")
    logits = torch.cat([10 * random(200), torch.tensor([-80.0, -30.0, 0.0, 30.0, 80.0])])
    for target in (torch.zeros_like(logits), torch.ones_like(logits), (logits > 0).float()):
        ours = focal_loss(logits, target, alpha=alpha, gamma=gamma)
        theirs = ops.sigmoid_focal_loss(logits, target, alpha=alpha, gamma=gamma)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-8)


def test_focal_loss_without_focus_is_half_the_cross_entropy() -> None:
    logits, target = random(50), random(50, seed=1) > 0
    entropy = functional.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    torch.testing.assert_close(focal_loss(logits, target, alpha=0.5, gamma=0.0), entropy / 2)


def test_focal_loss_of_an_undecided_cell() -> None:
    loss = focal_loss(torch.zeros(2), torch.tensor([True, False]))
    expected = torch.tensor([0.25, 0.75]) * 0.5**2 * math.log(2)
    torch.testing.assert_close(loss, expected)


def test_focal_loss_keeps_a_gradient_at_extreme_logits() -> None:
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([True, False])).sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.tensor([-0.25, 0.75]))


def masks() -> Tensor:
    """Of one cell in ten, and of one in two."""
    mask = torch.zeros(2, 1, 1, 4, 10, dtype=torch.bool)
    mask[0, ..., :1] = True
    mask[1, ..., :5] = True
    return mask


def test_small_instances_count_as_much_as_large_ones() -> None:
    target = random(2, 3, 1, 4, 10)
    inside, full_frame = flow_errors(target + 0.5, target, masks())
    torch.testing.assert_close(inside, torch.full((2,), 0.25))
    torch.testing.assert_close(full_frame, torch.full((2,), 0.25))


def test_only_what_is_inside_counts() -> None:
    target, mask = random(2, 3, 1, 4, 10), masks()
    wrong_outside = torch.where(mask, target, target + 9)
    inside, full_frame = flow_errors(wrong_outside, target, mask)
    assert inside.tolist() == [0, 0]
    torch.testing.assert_close(full_frame, torch.tensor([81 * 0.9, 81 * 0.5]))


def test_an_empty_mask_counts_nothing() -> None:
    target = random(1, 3, 1, 4, 4)
    inside, _ = flow_errors(target + 1, target, torch.zeros(1, 1, 1, 4, 4))
    assert inside.item() == 0


@pytest.mark.parametrize("full_frame", [False, True])
def test_the_total_weighs_the_mask(full_frame: bool) -> None:
    mask, logits = masks(), random(2, 1, 1, 4, 10)
    target = random(2, 3, 1, 4, 10)
    velocity = random(2, 3, 1, 4, 10, seed=2)
    losses = training_losses(
        velocity,
        logits,
        target=target,
        mask=mask,
        exact_mask=mask,
        config=LossConfig(mask_weight=0.3, full_frame=full_frame),
    )
    flow = losses.flow_full_frame if full_frame else losses.flow
    torch.testing.assert_close(losses.total, flow + 0.3 * losses.mask)
    assert losses.flow != losses.flow_full_frame


def test_conditions_are_left_out_at_their_rates() -> None:
    draws = [sample_generator(0, number) for number in range(10_000)]
    text, audio = draw_dropped(DropConfig(), draws)
    for dropped, share in ((text, 0.15), (audio, 0.15), (text & audio, 0.05), (text | audio, 0.25)):
        assert dropped.float().mean().item() == pytest.approx(share, abs=0.012)


@pytest.mark.parametrize("rates", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_certain_cases_are_certain(rates: tuple[float, float, float]) -> None:
    config = DropConfig(text=rates[0], audio=rates[1], both=rates[2])
    text, audio = draw_dropped(config, [sample_generator(1, number) for number in range(50)])
    assert text.all() == bool(rates[0] or rates[2])
    assert audio.all() == bool(rates[1] or rates[2])


def test_rates_above_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="at most 1"):
        DropConfig(text=0.6, audio=0.6)
