"""The moving average of weights."""

import pytest
import torch
from torch import nn

from avipipe.editor.avi_edit.train.ema import Ema


def model_at(value: float) -> nn.Linear:
    model = nn.Linear(2, 2)
    for weight in model.parameters():
        nn.init.constant_(weight, value)
    return model


def set_to(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)


def test_it_follows_its_closed_form() -> None:
    model = model_at(1.0)
    ema = Ema(model, 0.5)
    set_to(model, 2.0)
    for number in range(20, 23):
        ema.update(model, number)
    expected = torch.full((2, 2), 2 - 0.5**3)
    torch.testing.assert_close(ema.weights["weight"], expected)


def test_early_updates_forget_faster() -> None:
    model = model_at(0.0)
    ema = Ema(model, 0.999)
    set_to(model, 1.0)
    ema.update(model, 1)
    assert ema.weights["bias"][0].item() == pytest.approx(0.9)


def test_applying_it_is_undone() -> None:
    model = model_at(0.0)
    ema = Ema(model, 0.9)
    set_to(model, 1.0)
    ema.update(model, 1)
    with ema.applied(model):
        assert model.weight[0, 0].item() == pytest.approx(0.9)
    assert torch.equal(model.weight, torch.ones(2, 2))
    assert ema.weights["weight"][0, 0].item() == pytest.approx(0.9)


def test_frozen_weights_are_left_out() -> None:
    model = model_at(0.0)
    model.bias.requires_grad_(False)
    assert Ema(model, 0.9).weights.keys() == {"weight"}
