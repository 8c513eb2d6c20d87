"""A diffusion model asked about source and target at the same noise, and pulled at by its tokens.

Shapes: K frames of C x h x w latents (of sound: one frame), G grids of them, D channels of a token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from avipipe.editor.aved.grids import (
    frames_to_tokens,
    from_grids,
    level_shape,
    to_grids,
    tokens_to_frames,
)
from avipipe.editor.aved.relevance import MarkedWords, min_max, transformers_of, watched
from avipipe.editor.common.diffusion import Schedule


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt as a network reads it.

    Attributes:
        arguments: of the network.
        states: name of the one that it looks at word by word.
        marks_L: which of these words are of the edit, if any.
    """

    arguments: Mapping[str, Tensor]
    states: str
    marks_L: Tensor | None = None

    @property
    def words(self) -> MarkedWords | None:
        """The words of the edit."""
        if self.marks_L is None:
            return None
        return MarkedWords(self.marks_L, self.arguments[self.states])


@dataclass(frozen=True, slots=True)
class Readings:
    """The prompts of source and target, and what both are guided away from."""

    source: Reading
    target: Reading
    away: Reading


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a network tells of source and target.

    Attributes:
        change_KChw: guided noise of the target less that of the source.
        source_tokens, target_tokens: of each tapped layer, (K, h, w, D).
        relevance_Khw: how much of the edit's words there is in each token of the chosen block.
    """

    change_KChw: Tensor
    source_tokens: Sequence[Tensor]
    target_tokens: Sequence[Tensor]
    relevance_Khw: Tensor


class Denoiser:
    """A UNet of diffusers, and prompts on its device; it sees frames in grids, one at a time.

    Args:
        block: which one upwards is compared with that of the other model.
        side: frames along a side of a grid.
    """

    def __init__(
        self,
        network: Any,
        schedule: Schedule,
        readings: Readings,
        *,
        guidance: float,
        block: int,
        side: int,
    ) -> None:
        self.network, self.schedule, self.readings = network, schedule, readings
        self.guidance, self.block, self.side = guidance, block, side
        self.levels, self.taps = _levels(network), _taps_of(network, block)

    @torch.no_grad()
    def compare(
        self, source: Tensor, target: Tensor, noise: Tensor, timestep: int, order: Tensor
    ) -> Comparison:
        """Ask about both, (K, C, h, w) each, with the same noise."""
        found = [
            self._ask_all(latents, reading, noise, timestep, order)
            for latents, reading in ((source, self.readings.source), (target, self.readings.target))
        ]
        (before, source_tokens, looks), (after, target_tokens, more) = found
        relevance = torch.stack([min_max(each) for each in (looks, more) if each is not None])
        return Comparison(after - before, source_tokens, target_tokens, relevance.amax(0))

    def pull(
        self,
        target: Tensor,
        noise: Tensor,
        timestep: int,
        order: Tensor,
        pulls: Sequence[Tensor],
    ) -> Tensor:
        """The gradient of latents by that of the tokens that `compare` told of the target.

        The network is asked anew, grid by grid, so that no more than one is held for the way back.

        Args:
            pulls: gradient of each tapped layer's tokens, (K, h, w, D).
        Returns:
            (K, C, h, w), float32.
        """
        grids, noises = (to_grids(each, order, self.side) for each in (target, noise))
        by_layer = [frames_to_tokens(pull, order, self.side) for pull in pulls]
        found = []
        for index in range(len(grids)):
            grid = grids[index, None].detach().requires_grad_()
            noisy = self.schedule.noisy(grid, noises[index, None], timestep)
            with torch.enable_grad(), watched(self.network, self.block) as shown:
                self._ask(noisy, timestep, self.readings.target)
            outputs = [layer[index, None].to(shown.tokens[0].dtype) for layer in by_layer]
            found.append(torch.autograd.grad(shown.tokens, grid, outputs)[0])
        return from_grids(torch.cat(found), order, self.side)

    def _ask_all(
        self, latents: Tensor, reading: Reading, noise: Tensor, timestep: int, order: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Guided noise, tokens by layer, and the relevance of the prompt's words, if it has any."""
        noisy_KChw = self.schedule.noisy(latents, noise, timestep)
        noisy_GChw = to_grids(noisy_KChw, order, self.side)
        told, tokens, looks = [], list[list[Tensor]](), list[Tensor]()
        for index in range(len(noisy_GChw)):
            noisy = noisy_GChw[index, None]
            with watched(self.network, self.block, reading.words) as shown:
                towards = self._ask(noisy, timestep, reading)
            away = self._ask(noisy, timestep, self.readings.away)
            guided = away + self.guidance * (towards - away)
            told.append(self.schedule.noise(noisy, guided, timestep))
            tokens.append(shown.tokens)
            looks += [torch.stack(shown.looks).mean(0)] if reading.words is not None else []
        shape = (noisy_GChw.shape[2], noisy_GChw.shape[3])
        by_layer = [
            self._to_frames(torch.cat(layer), shape, level, order)
            for layer, level in zip(zip(*tokens, strict=True), self.levels, strict=True)
        ]
        relevance = None
        if looks:
            level = self.levels[self.taps[0]]
            relevance = self._to_frames(torch.stack(looks)[..., None], shape, level, order)[..., 0]
        return from_grids(torch.cat(told), order, self.side), by_layer, relevance

    def _to_frames(
        self, tokens: Tensor, shape: tuple[int, int], level: int, order: Tensor
    ) -> Tensor:
        return tokens_to_frames(tokens, level_shape(shape, level), order, self.side)

    def _ask(self, noisy: Tensor, timestep: int, reading: Reading) -> Tensor:
        time = torch.tensor([timestep], device=noisy.device)
        found: Tensor = self.network(
            noisy.to(self.network.dtype), time, return_dict=False, **reading.arguments
        )[0]
        return found.float()


def _levels(network: Any) -> list[int]:
    """How often the map of each tapped layer has been halved."""
    blocks = network.up_blocks
    return [
        len(blocks) - 1 - index
        for index, block in enumerate(blocks)
        for _ in transformers_of(block)
    ]


def _taps_of(network: Any, block: int) -> range:
    """Which of the tapped layers are of a block."""
    before = sum(len(list(transformers_of(each))) for each in network.up_blocks[:block])
    return range(before, before + len(list(transformers_of(network.up_blocks[block]))))
