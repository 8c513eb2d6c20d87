"""Delta denoising of picture and sound at once, tied together by contrastive losses.

At each step both networks say how the prompts differ at the same noise (DDS, arXiv 2304.07090), and
the latents follow; where the words of the edit are looked at, tokens of picture and sound at equal
times are drawn together, and all others are held to those of the source. Source: AvED (arXiv
2503.20782), section 3.2; CDS@e3082ae where it is silent.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor

from avipipe.editor.aved.config import AvedSettings
from avipipe.editor.aved.contrast import (
    cross_modal_nce,
    draw_pairs,
    draw_patches,
    narrowed,
    patch_nce,
)
from avipipe.editor.aved.denoise import Comparison, Denoiser
from avipipe.editor.aved.grids import draw_order, resize_maps
from avipipe.editor.common.finite import check_finite
from avipipe.editor.common.flow import draw_noise
from avipipe.editor.common.state import EditStep, load_state, save_state

Draw = Callable[[int, str], torch.Generator]
"""Step and purpose -> what is drawn from, the same whenever it is asked for."""

DDS_SCALE = 2000.0
"""Of delta denoising, over the cells of what a network sees; DDS's own factor."""


class JointLatents(NamedTuple):
    """Latents of K frames, (K, C, h, w), and of the sound, (1, C, h, w); or what goes with each."""

    picture: Tensor
    sound: Tensor


@dataclass(frozen=True, slots=True)
class JointEdit:
    """What is edited.

    Attributes:
        source: latents as they are, float32.
        cells_K1hw: where pictures may change, bool.
        times_K: when each frame is seen, in seconds.
        sound_s: how long the sound's latents last.
    """

    source: JointLatents
    cells_K1hw: Tensor
    times_K: Sequence[float]
    sound_s: float

    def to(self, device: torch.device | str) -> Self:
        """This edit with its latents on a device."""
        source = JointLatents(*(latents.to(device) for latents in self.source))
        return type(self)(source, self.cells_K1hw.to(device), self.times_K, self.sound_s)

    def rows(self, num_rows: int) -> Tensor:
        """In which of so many rows of the sound each frame lies, (K,)."""
        return torch.tensor(
            [min(int(time_s * num_rows / self.sound_s), num_rows - 1) for time_s in self.times_K]
        )


@dataclass(frozen=True, slots=True)
class JointEditing:
    """An edit on its way.

    Attributes:
        step: number of the next one that is made, from 0.
        target: latents as they have become.
        relevance_Khw: of each token of frames, the sum over the steps.
    """

    step: int
    target: JointLatents
    relevance_Khw: Tensor

    def to(self, device: torch.device | str) -> Self:
        """This edit on its way, on a device."""
        target = JointLatents(*(latents.to(device) for latents in self.target))
        return type(self)(self.step, target, self.relevance_Khw.to(device))

    def save(self, path: Path) -> None:
        """Write it as a safetensors file, whole or not at all."""
        held = {**self.target._asdict(), "relevance": self.relevance_Khw}
        save_state(path, self.step, held)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            RunError: it is something else.
        """
        step, (picture, sound, relevance) = load_state(path, ("picture", "sound", "relevance"))
        return cls(step, JointLatents(picture, sound), relevance)


def timestep_of(settings: AvedSettings, generator: torch.Generator) -> int:
    """At which noise both models are asked in a step."""
    first, last = settings.first_timestep, settings.last_timestep
    return int(torch.randint(first, last + 1, (), generator=generator))


def joint_edit(
    pictures: Denoiser,
    sounds: Denoiser,
    edit: JointEdit,
    settings: AvedSettings,
    draw: Draw,
    *,
    on_step: Callable[[EditStep[JointEditing]], None] | None = None,
    start: JointEditing | None = None,
) -> JointEditing:
    """Edit latents of pictures and sound, on the device of the networks.

    Args:
        on_step: told of each step.
        start: go on from here, with the same edit, settings and draws.
    Raises:
        RunError: a network answers with what is no number.
    """
    editing = start
    for index in range(0 if start is None else start.step, settings.num_steps):
        began_s = time.monotonic()
        target = edit.source if editing is None else editing.target
        target, relevance = _step((pictures, sounds), edit, target, settings, draw, index)
        for latents in target:
            check_finite(latents, f"step {index + 1}")
        if editing is not None:
            relevance = editing.relevance_Khw + relevance
        editing = JointEditing(index + 1, target, relevance)
        if on_step is not None:
            on_step(EditStep(index, time.monotonic() - began_s, editing))
    assert editing is not None, "there is a step"
    return editing


def _step(
    denoisers: tuple[Denoiser, Denoiser],
    edit: JointEdit,
    target: JointLatents,
    settings: AvedSettings,
    draw: Draw,
    index: int,
) -> tuple[JointLatents, Tensor]:
    """The target after a step, and the relevance of each token of frames."""
    timestep = timestep_of(settings, draw(index, "timestep"))
    asked = [
        (
            latents,
            draw_noise(latents.shape, [draw(index, name)])[0].to(latents.device),
            timestep,
            draw_order(len(latents), denoiser.side, draw(index, "order")),
        )
        for denoiser, latents, name in zip(denoisers, target, JointLatents._fields, strict=True)
    ]
    found = [
        denoiser.compare(source, *each)
        for denoiser, source, each in zip(denoisers, edit.source, asked, strict=True)
    ]
    seen, heard = found
    pulls = contrast(*denoisers, seen, heard, edit, settings, draw(index, "patches"))
    rate = settings.learning_rate * settings.decay**index * settings.step_scale
    moved = []
    for denoiser, told, each, pull in zip(denoisers, found, asked, pulls, strict=True):
        denoising = dds_gradient(told.change_KChw, denoiser.side)
        pulled = _weighed(denoiser.pull(*each, pull), denoising, settings)
        moved.append(each[0] - rate * (denoising + pulled))
    picture = torch.where(edit.cells_K1hw, moved[0], edit.source.picture)
    # Laid out as a state on disk has them: otherwise convolutions might round in another way.
    target = JointLatents(picture.contiguous(), moved[1].contiguous())
    return target, seen.relevance_Khw.contiguous()


def dds_gradient(change_KChw: Tensor, side: int) -> Tensor:
    """The gradient of delta denoising, by what a network sees at once: grids of some side.

    Source: google/prompt-to-prompt@9c472e4, DDS_zeroshot.ipynb, get_dds_loss.
    """
    num_cells = change_KChw.shape[-1] * change_KChw.shape[-2] * side**2
    return DDS_SCALE / num_cells * change_KChw


def contrast(
    pictures: Denoiser,
    sounds: Denoiser,
    seen: Comparison,
    heard: Comparison,
    edit: JointEdit,
    settings: AvedSettings,
    generator: torch.Generator,
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the contrastive losses by the target's tokens, of pictures and of sound."""
    leaves = [
        [tokens.detach().float().requires_grad_() for tokens in each.target_tokens]
        for each in (seen, heard)
    ]
    regions = [(each.relevance_Khw > settings.relevance).cpu() for each in (seen, heard)]
    losses = list[Tensor]()
    for told, tokens, region in zip((seen, heard), leaves, regions, strict=True):
        losses += _held(told.source_tokens, tokens, region, settings, generator)
    if settings.cross_modal:
        taps = (leaves[0][pictures.taps[-1]], leaves[1][sounds.taps[-1]])
        losses += _tied(*taps, regions[0], regions[1], edit, settings, generator)
    every = [*leaves[0], *leaves[1]]
    pulls = [torch.zeros_like(leaf) for leaf in every]
    if losses:
        total = torch.stack(losses).sum()
        pulls = list(torch.autograd.grad(total, every, allow_unused=True, materialize_grads=True))
    return pulls[: len(leaves[0])], pulls[len(leaves[0]) :]


def _held(
    source: Sequence[Tensor],
    target: Sequence[Tensor],
    region_Khw: Tensor,
    settings: AvedSettings,
    generator: torch.Generator,
) -> list[Tensor]:
    """The losses that hold what is not of the edit to the source."""
    losses = []
    for before, after in zip(source, target, strict=True):
        shape = (after.shape[1], after.shape[2])
        is_edit = resize_maps(region_Khw.float(), shape) > 0
        for size in settings.patch_sizes:
            if size > min(shape):
                continue
            ids = draw_patches(is_edit, size, settings.num_patches, generator).to(after.device)
            if len(ids):
                losses.append(patch_nce(after, before.float(), size, ids, settings.temperature))
    return losses


def _tied(
    seen_KhwD: Tensor,
    heard_1TWD: Tensor,
    seen_region: Tensor,
    heard_region: Tensor,
    edit: JointEdit,
    settings: AvedSettings,
    generator: torch.Generator,
) -> list[Tensor]:
    """The loss that ties pictures and sound of the edit together, where both have any of it."""
    rows_K = edit.rows(heard_1TWD.shape[1])
    seen, heard, rows = (
        ids.to(seen_KhwD.device)
        for ids in draw_pairs(seen_region, heard_region[0], rows_K, settings.num_patches, generator)
    )
    if not len(rows):
        return []
    width = min(seen_KhwD.shape[-1], heard_1TWD.shape[-1])
    tied = [
        narrowed(each.flatten(0, 2)[ids], width)
        for each, ids in ((seen_KhwD, seen), (heard_1TWD, heard))
    ]
    return [cross_modal_nce(tied[0], tied[1], rows, settings.temperature)]


def _weighed(pulled: Tensor, denoising: Tensor, settings: AvedSettings) -> Tensor:
    """The gradient of the contrastive losses as it is added to that of delta denoising."""
    if settings.contrast_share is None:
        return settings.contrast_weight * pulled
    length = pulled.norm()
    return pulled * (settings.contrast_share * denoising.norm() / length) if length else pulled
