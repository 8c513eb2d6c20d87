"""Edits latents: solves the flow from noise within a mask that is refined on the way."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from avipipe.editor.avi_edit.config import SampleConfig
from avipipe.editor.avi_edit.network.transformer import EditorOutput
from avipipe.editor.avi_edit.refine import refine_mask, refine_mask_as_released
from avipipe.editor.common.finite import check_finite
from avipipe.editor.common.flow import NUM_TIMESTEPS, draw_noise, sample_generator
from avipipe.editor.common.grid import euler_step, sigma_grid
from avipipe.editor.common.state import load_state, save_state
from avipipe.errors import ConfigError

_TENSORS = ("latents", "mask", "masks")
"""Of an edit on its way, by their names."""


class Network(Protocol):
    """What the solver needs of `EditorTransformer`; the options are those of its `forward`."""

    @property
    def dtype(self) -> torch.dtype: ...

    def __call__(
        self, latents: Tensor, timestep: Tensor, text: Tensor, /, **options: Any
    ) -> EditorOutput: ...


@dataclass(frozen=True, slots=True)
class Conditions:
    """What an edit is made of. Latents are normalised; T latent frames of h x w cells.

    Attributes:
        latents: of the source, (1, C, T, h, w).
        mask: where to edit, bool, (1, 1, T, h, w).
        precision: the factor p of the mask, 0 exact … P box.
        text, no_text: the prompt and the negative one, embedded, (1, L, D).
        audio: wav2vec2's hidden states at each video frame, (1, 4 T - 3, states, width); None
            where nothing is to be heard.
        controls: kind -> latents of a control video, (1, C, T, h, w).
        references: latents of R images, (1, C, R, h', w').
        clean_frames: so many of the first latent frames are given as they shall be: the frame
            that a chunk shares with the one before it. They come out as they are, and the network
            is told so, whatever the mask (but for `gamr_feedback: released`, which tells it that
            they are edited).
    """

    latents: Tensor
    mask: Tensor
    precision: int
    text: Tensor
    no_text: Tensor
    audio: Tensor | None = None
    controls: Mapping[str, Tensor] = field(default_factory=dict)
    references: Tensor | None = None
    clean_frames: int = 0

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """These conditions on a device; floats but for the source's latents in another type."""

        def moved(value: Any, name: str = "") -> Any:
            if isinstance(value, Mapping):
                return {key: moved(each) for key, each in value.items()}
            if not isinstance(value, Tensor):
                return value
            keeps = dtype is None or name == "latents" or not value.is_floating_point()
            return value.to(device) if keeps else value.to(device, dtype)

        values = {each.name: moved(getattr(self, each.name), each.name) for each in fields(self)}
        return replace(self, **values)

    def compose(self, latents: Tensor, mask: Tensor) -> Tensor:
        """Latents within a mask, and the source's outside of it and in the clean frames."""
        return torch.where(self.without_clean(mask), latents, self.latents)

    def without_clean(self, mask: Tensor) -> Tensor:
        """A mask with nothing in the clean frames."""
        mask = mask.clone()
        mask[:, :, : self.clean_frames] = False
        return mask


@dataclass(frozen=True, slots=True)
class Solving:
    """An edit on its way: all that goes from one step to the next.

    Attributes:
        step: of the next step, from 0.
        latents: (1, C, T, h, w), float32.
        mask: as it has been refined, bool, (1, 1, T, h, w).
        masks: that mask after each step so far, bool on the CPU, (step, 1, T, h, w).
    """

    step: int
    latents: Tensor
    mask: Tensor
    masks: Tensor

    def to(self, device: torch.device | str) -> Self:
        """This edit with its tensors on a device."""
        return replace(self, latents=self.latents.to(device), mask=self.mask.to(device))

    def save(self, path: Path) -> None:
        """Write it as a safetensors file, whole or not at all."""
        save_state(path, self.step, {name: getattr(self, name) for name in _TENSORS})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            RunError: it is something else.
        """
        step, tensors = load_state(path, _TENSORS)
        return cls(step, *tensors)


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was made.

    Attributes:
        index: from 0.
        sigma: noise level from which it went on.
        precision: the factor p that the network was told.
        num_cells: in the mask after it.
        solving: where the edit stands; what to save so that it can be resumed.
    """

    index: int
    num_steps: int
    sigma: float
    precision: int
    num_cells: int
    seconds: float
    solving: Solving


@dataclass(frozen=True, slots=True)
class Solution:
    """What came of an edit.

    Attributes:
        latents: (1, C, T, h, w), float32; outside of `mask` those of the source, bit for bit (but
            not with `gamr_feedback: released`, whose last step reaches the background).
        mask: the refined one, bool, (1, 1, T, h, w).
        masks: that after each step, bool on the CPU, (steps, 1, T, h, w); none where there was
            nothing to edit.
    """

    latents: Tensor
    mask: Tensor
    masks: Tensor


def begin(conditions: Conditions, config: SampleConfig) -> Solving:
    """Noise, and the user's mask."""
    generator = sample_generator(config.seed, "edit")
    noise = draw_noise(conditions.latents.shape[1:], [generator])
    mask = conditions.mask
    return Solving(0, noise.to(mask.device), mask, torch.zeros(0, *mask.shape[1:]).bool())


@torch.no_grad()
def solve(
    model: Network,
    conditions: Conditions,
    config: SampleConfig,
    *,
    on_step: Callable[[Step], None] | None = None,
    start: Solving | None = None,
) -> Solution:
    """Edit what is in the mask.

    The background comes from the source before every step and after the last. With
    `gamr_feedback: paper` the mask is refined at each step, and is the video's from the next one
    on; it only shrinks, and cells that leave it are background again. A mask without cells gives
    the source, and the network is not asked.

    Args:
        model: on the device of the conditions.
        on_step: told of each step.
        start: go on from here, with the same conditions and configuration.
    Raises:
        ConfigError: there is no threshold for the precision of the mask.
        RunError: the network answers with what is no number.
    """
    if not 0 <= conditions.precision < len(config.thresholds):
        raise ConfigError(
            f"expected a precision factor from 0 to {len(config.thresholds) - 1}, for which there "
            f"are `thresholds`; got {conditions.precision}"
        )
    device = conditions.latents.device
    given = conditions.to(device, model.dtype)
    given = replace(given, latents=conditions.latents.float())
    if config.gamr_feedback != "released":
        given = replace(given, mask=given.without_clean(given.mask))
    solving = (begin(given, config) if start is None else start).to(device)
    if not given.mask.any():
        return Solution(given.latents, given.mask, solving.masks)
    sigmas = sigma_grid(config.num_steps, config.shift).tolist()
    while solving.step < config.num_steps:
        began_s, index = time.monotonic(), solving.step
        solving = _advance(model, given, config, solving, sigmas)
        check_finite(solving.latents, f"step {index + 1}")
        if on_step is not None:
            on_step(
                Step(
                    index,
                    config.num_steps,
                    sigmas[index],
                    precision_at(config, given.precision, index),
                    int(solving.mask.sum()),
                    time.monotonic() - began_s,
                    solving,
                )
            )
    latents = solving.latents
    if config.gamr_feedback != "released":
        latents = given.compose(latents, solving.mask)
    return Solution(latents, solving.mask, solving.masks)


def precision_at(config: SampleConfig, precision: int, step: int) -> int:
    """The factor p that the network is told at a step: it falls, once masks are refined."""
    if config.gamr_feedback == "off":
        return precision
    last = min(config.last_precision, precision)
    left = max(0.0, 1 - step / config.precision_steps)
    return round(last + (precision - last) * left)


def _advance(
    model: Network,
    given: Conditions,
    config: SampleConfig,
    solving: Solving,
    sigmas: list[float],
) -> Solving:
    """One step."""
    index = solving.step
    sigma, released = sigmas[index], config.gamr_feedback == "released"
    precision = precision_at(config, given.precision, index)
    mask = given.mask if released else solving.mask
    latents = given.compose(solving.latents, mask)

    def ask(text: Tensor, precision: int, *, refine: bool) -> EditorOutput:
        return model(
            latents.to(model.dtype),
            torch.tensor([NUM_TIMESTEPS * sigma], device=latents.device),
            text,
            mask=mask,
            precision=torch.tensor([float(precision)], device=latents.device),
            audio=given.audio,
            clean=_clean(given),
            controls=given.controls,
            references=given.references,
            refiner_mask=solving.mask if released else None,
            refine=refine,
        )

    refines = config.gamr_feedback != "off" and (released or sigma > config.refine_above_sigma)
    output = ask(given.text, precision, refine=refines)
    velocity = output.velocity.float()
    if config.guidance != 1:
        # The released loop has lowered p by now, so that guidance tells p's apart, too.
        lowered = precision_at(config, given.precision, index + 1) if released else precision
        away = ask(given.no_text, lowered, refine=False).velocity.float()
        velocity = away + config.guidance * (velocity - away)
    refined = solving.mask
    if output.mask_logits is not None:
        refined = _refined(output.mask_logits.float(), given, config, solving, precision)
    return Solving(
        index + 1,
        euler_step(latents, velocity, sigma, sigmas[index + 1]),
        refined,
        torch.cat([solving.masks, refined.cpu()]),
    )


def _refined(
    logits: Tensor, given: Conditions, config: SampleConfig, solving: Solving, precision: int
) -> Tensor:
    threshold = config.thresholds[precision]
    if config.gamr_feedback == "released":
        return refine_mask_as_released(logits, given.mask, threshold, kernel=config.kernel)
    return refine_mask(
        logits,
        given.mask,
        threshold,
        previous=solving.mask,
        kernel=config.kernel,
        min_share=config.min_share,
    )


def _clean(given: Conditions) -> Tensor | None:
    """Which latent frames are without noise, (1, T); None where none is."""
    if not given.clean_frames:
        return None
    frames = torch.arange(given.latents.shape[2], device=given.latents.device)
    return (frames < given.clean_frames)[None]
