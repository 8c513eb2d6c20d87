"""The course of a part: to noise without a sound, and back with one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from avipipe.editor.audio_scenic.hearing import Heard
from avipipe.editor.audio_scenic.network import SceneNetwork
from avipipe.editor.common.diffusion import Schedule
from avipipe.editor.common.finite import check_finite
from avipipe.editor.common.state import Editing, EditStep
from avipipe.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Course:
    """What is edited; all tensors are on one device.

    Attributes:
        source_FChw: latents, float32.
        heard: the new sound.
        shapes: depth (F, 3, H, W) that holds shapes on the way back.
        first_Chw: latents that the first frame shall be, from the beginning of the way back.
        noise_Chw: of that frame.
        num_steps: of each way.
    """

    source_FChw: Tensor
    heard: Heard
    shapes: Tensor
    first_Chw: Tensor | None
    noise_Chw: Tensor
    num_steps: int

    def to(self, device: torch.device | str) -> Self:
        """This course with its tensors on a device."""
        return type(self)(
            self.source_FChw.to(device),
            self.heard.to(device),
            self.shapes.to(device),
            None if self.first_Chw is None else self.first_Chw.to(device),
            self.noise_Chw.to(device),
            self.num_steps,
        )

    def held(self, latents_FChw: Tensor, schedule: Schedule, timestep: int) -> Tensor:
        """Latents of a timestep with the first frame as it shall be."""
        if self.first_Chw is None:
            return latents_FChw
        first = schedule.noisy(self.first_Chw, self.noise_Chw, timestep)
        return torch.cat([first[None], latents_FChw[1:]])


def levels_of(schedule: Schedule, num_steps: int) -> list[int]:
    """Timesteps between which the steps lead: from the picture, -1, to noise and back to it.

    Raises:
        ConfigError: the network was trained with fewer.
    """
    most = schedule.num_timesteps
    if num_steps > most:
        raise ConfigError(
            f"audio_scenic.num_steps: expected at most {most}, as many as the network was trained "
            f"with, got {num_steps}"
        )
    rising = [index * most // num_steps - 1 for index in range(num_steps + 1)]
    return [*rising, *rising[-2::-1]]


@torch.no_grad()
def follow(
    network: SceneNetwork,
    schedule: Schedule,
    course: Course,
    *,
    on_step: Callable[[EditStep[Editing]], None] | None = None,
    start: Editing | None = None,
) -> Tensor:
    """Lead latents to noise without a sound, and back with it.

    Args:
        on_step: told of each step.
        start: go on from here, on the same course.
    Returns:
        (F, C, h, w), float32.
    Raises:
        RunError: the network answers with what is no number.
    Source: AudioScenic (arXiv 2404.16581), Eq. 6; as usual, the network is asked on both ways at
        the noisier end of a step.
    """
    levels = levels_of(schedule, course.num_steps)
    going = start or Editing(0, course.source_FChw)
    for index in range(going.step, len(levels) - 1):
        began_s = time.monotonic()
        here, there = levels[index], levels[index + 1]
        latents, is_back = going.latents, index >= course.num_steps
        asked = max(here, there)
        if is_back:
            latents = course.held(latents, schedule, here)
            said = network.says(latents, asked, course.heard, course.shapes)
        else:
            said = network.says(latents, asked, None)
        noise = schedule.noise(latents, said, asked)
        latents = schedule.step(latents, noise, here, there)
        check_finite(latents, f"step {index + 1}")
        if is_back:
            latents = course.held(latents, schedule, there)
        going = Editing(index + 1, latents)
        if on_step is not None:
            on_step(EditStep(index, time.monotonic() - began_s, going))
    return going.latents
