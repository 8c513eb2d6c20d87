"""Tunes the inflated network on the one video that is edited, and keeps how far it came."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from avipipe.editor.audio_scenic.config import ScenicSettings
from avipipe.editor.audio_scenic.hearing import Heard
from avipipe.editor.common.diffusion import Schedule
from avipipe.editor.common.finite import check_finite
from avipipe.editor.common.flow import draw_noise, sample_generator
from avipipe.editor.common.state import load_state, save_state

KEPT_EVERY = 25
"""Steps between two files of where it stands: some 2 GB with SD 1.5, and a minute of work on a GPU.
A choice."""

# Norm to which gradients are cut, and the decay of weights: Tune-A-Video's own values.
_MOST_GRADIENT = 1.0
_DECAY = 1e-2

_DONE, _GOING = "tuned.pt", "tuning.pt"

Says = Callable[[Tensor, int, Heard], Tensor]
"""Noisy latents (F, C, h, w), a timestep and a sound -> what the network says."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Frames of the video that are looked at at once: latents (F, C, h, w), and their sound."""

    latents_FChw: Tensor
    heard: Heard

    def to(self, device: torch.device | str) -> Self:
        """This with its tensors on a device."""
        return type(self)(self.latents_FChw.to(device), self.heard.to(device))


def windows(num_frames: int, most_frames: int) -> list[range]:
    """Frames that are looked at at once: windows as long as may be, which cover all evenly."""
    length = min(num_frames, most_frames)
    count = math.ceil(num_frames / length)
    starts = [index * (num_frames - length) // max(1, count - 1) for index in range(count)]
    return [range(start, start + length) for start in starts]


def tuned_before(weights: Mapping[str, nn.Parameter], folder: Path) -> bool:
    """Whether tuning is done in a folder; then the weights get what came of it.

    Raises:
        RunError: its file is damaged.
    """
    if not (folder / _DONE).exists():
        return False
    restore(weights.values(), load_state(folder / _DONE, list(weights))[1])
    return True


def tune(
    says: Says,
    weights: Mapping[str, nn.Parameter],
    schedule: Schedule,
    excerpts: Sequence[Excerpt],
    settings: ScenicSettings,
    folder: Path,
    *,
    seed: int,
    told: Callable[[int, float], None],
) -> None:
    """Tune weights, or go on with that.

    Args:
        weights: with their first values.
        excerpts: of the video, on the CPU; the one that is looked at goes where the weights are.
        folder: gets `tuning.pt` on the way, and `tuned.pt` at the end.
        told: of steps that are done, and the mean loss of the last ones.
    Raises:
        RunError: the network answers with what is no number, or a file is damaged.
    Source: AudioScenic (arXiv 2404.16581), Eq. 5; optimiser of Tune-A-Video, train_tuneavideo.py.
    """
    folder.mkdir(parents=True, exist_ok=True)
    going, device = folder / _GOING, next(iter(weights.values())).device
    optimiser = torch.optim.AdamW(
        weights.values(), lr=settings.learning_rate, weight_decay=_DECAY, foreach=False
    )
    begin = _resume(going, weights, optimiser) if going.exists() else 0
    losses = list[float]()
    for step in range(begin, settings.tuning_steps):
        excerpt, timestep, noise = _draw(excerpts, schedule, seed, step, device)
        noisy = schedule.noisy(excerpt.latents_FChw, noise, timestep)
        target = schedule.target(excerpt.latents_FChw, noise, timestep)
        loss = functional.mse_loss(says(noisy, timestep, excerpt.heard), target)
        check_finite(loss, f"tuning step {step + 1}")
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights.values(), _MOST_GRADIENT)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        if (step + 1) % KEPT_EVERY == 0 and step + 1 < settings.tuning_steps:
            _keep(going, step + 1, weights, optimiser)
        if (step + 1) % KEPT_EVERY == 0 or step + 1 == settings.tuning_steps:
            told(step + 1, sum(losses) / len(losses))
            losses.clear()
    save_state(folder / _DONE, settings.tuning_steps, _values(weights))
    going.unlink(missing_ok=True)


def _draw(
    excerpts: Sequence[Excerpt], schedule: Schedule, seed: int, step: int, device: torch.device
) -> tuple[Excerpt, int, Tensor]:
    """An excerpt, a timestep and noise: the same whenever a step is made."""
    generator = sample_generator(seed, "tuning", step)
    index, timestep = (
        int(torch.randint(most, (), generator=generator))
        for most in (len(excerpts), schedule.num_timesteps)
    )
    excerpt = excerpts[index].to(device)
    noise = draw_noise(excerpt.latents_FChw.shape, [generator])[0]
    return excerpt, timestep, noise.to(device)


_MOMENTS = ("exp_avg", "exp_avg_sq")


def _keep(
    path: Path, step: int, weights: Mapping[str, nn.Parameter], optimiser: torch.optim.AdamW
) -> None:
    moments = {
        f"{moment} {name}": optimiser.state[weight][moment]
        for moment in _MOMENTS
        for name, weight in weights.items()
    }
    save_state(path, step, _values(weights) | moments)


def _resume(path: Path, weights: Mapping[str, nn.Parameter], optimiser: torch.optim.AdamW) -> int:
    """Bring weights and optimiser to where they stood; the steps that are done."""
    names = [*weights, *(f"{moment} {name}" for moment in _MOMENTS for name in weights)]
    step, tensors = load_state(path, names)
    kept = dict(zip(names, tensors, strict=True))
    restore(weights.values(), [kept[name] for name in weights])
    for name, weight in weights.items():
        moments = {each: kept[f"{each} {name}"].to(weight.device) for each in _MOMENTS}
        optimiser.state[weight] = {"step": torch.tensor(float(step)), **moments}
    return step


def _values(weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in weights.items()}


@torch.no_grad()
def restore(weights: Iterable[nn.Parameter], values: Iterable[Tensor]) -> None:
    """Give weights other values, in place."""
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
