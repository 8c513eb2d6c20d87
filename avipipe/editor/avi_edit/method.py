"""Edits a chunk: from frames, mask, words and sound to latents, through the solver, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from avipipe.annotators.base import Frames, Mask, Wave
from avipipe.annotators.batching import is_out_of_memory
from avipipe.editor.avi_edit.components import Components, load_components
from avipipe.editor.avi_edit.config import SampleConfig
from avipipe.editor.avi_edit.grid import sigma_grid
from avipipe.editor.avi_edit.solve import Conditions, Solution, Solving, Step, precision_at
from avipipe.editor.edit.chunks import Chunk, plan_chunks
from avipipe.editor.edit.config import EditConfig
from avipipe.editor.edit.job import EditSpec
from avipipe.editor.edit.listener import Listener
from avipipe.editor.edit.trace import StepTrace
from avipipe.editor.edit.video import choose_size
from avipipe.errors import ConfigError, RunError


@dataclass(frozen=True, slots=True)
class Part:
    """What a chunk is edited from: F = 4 n + 1 frames, T x h x w latent cells.

    Attributes:
        cells_Thw: where to edit.
        wave_N: mono at 16 kHz, of the frames; None for silence.
        first_HWC: the first frame, where it is edited already.
        controls: kind -> frames (F, H, W, 3).
        references: images (H, W, 3).
        seed: of the noise; each chunk of a video has its own.
    """

    frames_FHWC: Frames
    cells_Thw: Mask
    precision: int
    prompt: str
    wave_N: Wave | None
    first_HWC: Frames | None
    controls: Mapping[str, Frames]
    references: Sequence[Frames]
    seed: int


class Engine:
    """The models, ready to edit."""

    def __init__(self, components: Components, config: EditConfig) -> None:
        self.components, self.config = components, config
        self._text = lru_cache(maxsize=8)(components.encode_text)

    @property
    def num_steps(self) -> int:
        """Of the solver, for a chunk."""
        return self.config.solver.num_steps

    @property
    def max_precision(self) -> int:
        """P."""
        return self.components.network.sizes.max_precision

    @property
    def identity(self) -> dict[str, Any]:
        """What the models are."""
        return dict(self.components.identity)

    def size_for(self, shape: tuple[float, float]) -> tuple[int, int]:
        """Width and height at which a picture of a shape is edited."""
        return self.config.output.size or choose_size(shape, self.components.buckets)

    def chunks(self, num_frames: int) -> list[Chunk]:
        """The chunks of a video."""
        most = self.config.output.chunk_frames
        if most is None:
            # Pictures are about as large as the largest of training, so no longer than these.
            buckets = self.components.buckets
            most = max((each.tokens_per_frame, each.num_frames) for each in buckets)[1]
        return plan_chunks(num_frames, most)

    def check(self, spec: EditSpec) -> None:
        """Refuse what the network does not know.

        Raises:
            ConfigError: such a control, or precision of the mask.
        """
        given = spec.mask.precision
        if given is not None and given > self.max_precision:
            raise ConfigError(f"expected a precision of 0 to {self.max_precision}, got {given}")
        known = self.components.network.sizes.controls
        if unknown := sorted(set(spec.controls) - set(known)):
            raise ConfigError(
                f"expected controls among {', '.join(known) or 'none'}, got {', '.join(unknown)}"
            )

    def edit(
        self, part: Part, state: Path, listener: Listener
    ) -> tuple[Frames, Mask, tuple[StepTrace, ...]]:
        """Edit a chunk.

        Args:
            state: file that each step is kept in, and gone on from if it is there.
            listener: is told of each step.
        Returns:
            frames (F, H, W, 3), refined cells (T, h, w), and the steps.
        Raises:
            RunError: too little memory.
        """
        try:
            return self._edit(part, state, listener)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise RunError(
                f"too little memory for {part.frames_FHWC.shape[0]} frames of "
                f"{part.frames_FHWC.shape[2]}x{part.frames_FHWC.shape[1]} ({error}); try --offload "
                "models or blocks, with which it goes on from here; or, with another --out, "
                "--tile-vae, fewer frames at once (--set output.chunk_frames=49), or a smaller "
                "picture (--set output.size=[832,480])"
            ) from error

    def _edit(
        self, part: Part, state: Path, listener: Listener
    ) -> tuple[Frames, Mask, tuple[StepTrace, ...]]:
        conditions = self._conditions(part)
        config = self.config.solver.model_copy(update={"seed": part.seed})
        seconds: dict[int, float] = {}

        def on_step(step: Step) -> None:
            seconds[step.index] = round(step.seconds, 4)
            step.solving.save(state)
            listener.stepped()

        start = Solving.load(state) if state.exists() else None
        if start is not None:
            listener.skipped(start.step)
        solution = self.components.solve(conditions, config, on_step=on_step, start=start)
        cells_Thw = solution.mask[0, 0].numpy()
        steps = _steps(solution, conditions, config, seconds)
        return self.components.decode(solution.latents), cells_Thw, steps

    def _conditions(self, part: Part) -> Conditions:
        models = self.components
        latents = models.encode_video(part.frames_FHWC)
        if part.first_HWC is not None:
            latents[:, :, :1] = models.encode_video(part.first_HWC[None])
        references = [models.encode_video(image_HWC[None]) for image_HWC in part.references]
        audio = None
        if part.wave_N is not None:
            audio = models.encode_sound(part.wave_N, len(part.frames_FHWC))
        return Conditions(
            latents=latents,
            mask=torch.from_numpy(part.cells_Thw)[None, None],
            precision=part.precision,
            text=self._text(part.prompt),
            no_text=self._text(self.config.solver.negative_prompt),
            audio=audio,
            controls={kind: models.encode_video(video) for kind, video in part.controls.items()},
            references=torch.cat(references, dim=2) if references else None,
            clean_frames=0 if part.first_HWC is None else 1,
        )


def load_engine(config: EditConfig) -> Engine:
    """Load the models.

    Raises:
        WeightsError: a weight is missing.
        RunError: too little memory.
    """
    size, num_frames = config.output.size, config.output.chunk_frames
    return Engine(load_components(config.models, size=size, num_frames=num_frames), config)


def _steps(
    solution: Solution, conditions: Conditions, config: SampleConfig, seconds: Mapping[int, float]
) -> tuple[StepTrace, ...]:
    """What is told of each step; `seconds` of those that this run made."""
    clean = conditions.clean_frames
    num_cells = max(1, int(conditions.mask[:, :, clean:].sum()))
    sigmas = sigma_grid(config.num_steps, config.shift).tolist()
    return tuple(
        StepTrace(
            step=index,
            sigma=sigmas[index],
            precision=precision_at(config, conditions.precision, index),
            mask_share=int(mask[:, clean:].sum()) / num_cells,
            seconds=seconds.get(index),
        )
        for index, mask in enumerate(solution.masks)
    )
