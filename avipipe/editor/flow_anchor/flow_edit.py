"""FlowEdit: follows the difference of two velocities from one video to the other.

Nothing is inverted: at each step fresh noise is put on the source, and as much on what it has
become, and the flows of the two prompts are compared there. Source: FlowEdit@457f402,
FlowEdit_utils.py; for video FlowAnchor (arXiv 2604.22586), Eqs. 10-13 and 30.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from avipipe.editor.common.finite import check_finite
from avipipe.editor.common.grid import euler_step, sigma_grid
from avipipe.editor.common.state import Editing, EditStep
from avipipe.editor.flow_anchor.amm import modulate
from avipipe.editor.flow_anchor.config import FlowAnchorSettings

Draw = Callable[[int, int], Tensor]
"""Step and number of a draw -> noise (1, C, T, h, w), the same whenever it is asked for."""


class Velocities(Protocol):
    """The flows of the two prompts, each guided, at noisy latents (1, C, T, h, w)."""

    def source(self, latents: Tensor, sigma: float) -> Tensor: ...

    def target(self, latents: Tensor, sigma: float) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Edit:
    """What is edited. Latents are normalised; T latent frames of h x w cells.

    Attributes:
        source: (1, C, T, h, w), float32.
        cells: where to edit, bool, (1, 1, T, h, w); only `latent_blend` holds to it.
        first: latents (1, C, 1, h, w) that the first latent frame shall be, from the beginning.
    """

    source: Tensor
    cells: Tensor
    first: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """This edit with its tensors on a device."""
        first = None if self.first is None else self.first.to(device)
        return type(self)(self.source.to(device), self.cells.to(device), first)

    def begin(self) -> Editing:
        """Before the first step."""
        return Editing(0, self.hold(self.source))

    def hold(self, latents: Tensor) -> Tensor:
        """Latents with the first frame as it shall be."""
        return latents if self.first is None else torch.cat([self.first, latents[:, :, 1:]], dim=2)


def sigmas_of(settings: FlowAnchorSettings) -> list[float]:
    """Noise levels of the steps that are made, and at last 0."""
    return sigma_grid(settings.num_steps, settings.shift).tolist()[settings.skipped_steps :]


@torch.no_grad()
def flow_edit(
    velocities: Velocities,
    edit: Edit,
    settings: FlowAnchorSettings,
    draw: Draw,
    *,
    on_step: Callable[[EditStep[Editing]], None] | None = None,
    start: Editing | None = None,
) -> Tensor:
    """Edit latents; where both prompts and guidances are equal, they come back bit for bit.

    Args:
        draw: noise on the device of the latents.
        on_step: told of each step.
        start: go on from here, with the same edit, settings and noise.
    Returns:
        (1, C, T, h, w), float32.
    Raises:
        RunError: the network answers with what is no number.
    """
    editing = edit.begin() if start is None else start
    sigmas = sigmas_of(settings)
    for index in range(editing.step, len(sigmas) - 1):
        began_s = time.monotonic()
        change = _change(velocities, edit, settings, draw, editing, sigmas[index])
        if settings.amm:
            change = modulate(change[0], settings.gamma, settings.contrast)[None]
        latents = euler_step(editing.latents, change, sigmas[index], sigmas[index + 1])
        if settings.latent_blend:
            latents = torch.where(edit.cells, latents, edit.source)
        check_finite(latents, f"step {index + 1}")
        editing = Editing(index + 1, edit.hold(latents))
        if on_step is not None:
            on_step(EditStep(index, time.monotonic() - began_s, editing))
    return editing.latents


def _change(
    velocities: Velocities,
    edit: Edit,
    settings: FlowAnchorSettings,
    draw: Draw,
    editing: Editing,
    sigma: float,
) -> Tensor:
    """The target's velocity less the source's, the mean over some noises."""
    changes = []
    for number in range(settings.num_noises):
        noisy = (1 - sigma) * edit.source + sigma * draw(editing.step, number)
        # In this order nothing is rounded where nothing has been changed.
        edited = noisy + (editing.latents - edit.source)
        changes.append(velocities.target(edited, sigma) - velocities.source(noisy, sigma))
    return torch.stack(changes).mean(0)
