"""A moving average of the weights, which edits better than the last weights do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The exponential moving average of all weights of a network that learn.

    Weights that are sharded are averaged shard by shard. Early on the decay is lower, so that the
    average forgets the first weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: weight.detach().clone()
            for name, weight in model.named_parameters()
            if weight.requires_grad
        }

    @torch.no_grad()
    def update(self, model: nn.Module, num_updates: int) -> None:
        """Take in the weights after an optimiser step, the `num_updates`-th (from 1)."""
        decay = min(self.decay, num_updates / (num_updates + 9))
        now = dict(model.named_parameters())
        torch._foreach_lerp_(
            list(self.weights.values()), [now[name] for name in self.weights], 1 - decay
        )

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Have the network use the average for a while."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        now = dict(model.named_parameters())
        for name, average in self.weights.items():
            held = average.clone()
            average.copy_(now[name])
            now[name].copy_(held)
