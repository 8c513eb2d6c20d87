"""AVI-Edit as a method: from frames, mask, words and sound to latents, the solver, and back."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, field_validator

from avipipe.editor.avi_edit.checkpoints import find_checkpoint, pulled_of
from avipipe.editor.avi_edit.components import Components, load_components, plan_components
from avipipe.editor.avi_edit.config import ModelConfig, SampleConfig
from avipipe.editor.avi_edit.data.config import DataConfig
from avipipe.editor.avi_edit.masks import to_cells, to_pixels
from avipipe.editor.avi_edit.sizes import CELL_PX, TEMPORAL_STRIDE
from avipipe.editor.avi_edit.solve import Conditions, Solution, Solving, Step, precision_at
from avipipe.editor.common.canvas import choose_size
from avipipe.editor.common.grid import sigma_grid
from avipipe.editor.common.memory import too_little_told
from avipipe.editor.common.tasks import Task
from avipipe.editor.edit.method import (
    Canvas,
    EditConfig,
    EditSpec,
    Listener,
    MemoryPlan,
    Method,
    Part,
    Result,
    StepTrace,
    of_no_use,
    refuse,
)


class AviEditConfig(EditConfig):
    """What edits by AVI-Edit can be told beside the job."""

    options: ClassVar[Mapping[str, str]] = {
        **EditConfig.options,
        "--model": "models.network",
        "--offload": "models.offload",
        "--tile-vae": "models.tiled_vae",
        "--steps": "solver.num_steps",
    }
    not_decisive: ClassVar = frozenset({"network", "device", "offload", "compile"})

    models: ModelConfig = ModelConfig()
    solver: SampleConfig = SampleConfig()
    deletion_prompt: str = Field(
        DataConfig.model_fields["deletion_text"].default,
        description="What the network reads where something is taken away and no prompt is given.",
    )

    @field_validator("solver")
    @classmethod
    def _unseeded(cls, solver: SampleConfig) -> SampleConfig:
        if solver.seed:
            raise ValueError("each edit has its own seed: say --seed, or `seed` beside its mask")
        return solver


class AviEdit(Method):
    """The models of AVI-Edit, ready to edit."""

    name = "avi_edit"
    settings = AviEditConfig

    def __init__(self, components: Components, config: AviEditConfig) -> None:
        self.components = components
        self.config: AviEditConfig = config
        self._text = lru_cache(maxsize=8)(components.encode_text)

    @classmethod
    def load(cls, config: AviEditConfig) -> Self:
        """Load AVI-Edit's network and encoders.

        Raises:
            WeightsError: a weight is missing.
            ConfigError: nothing says what adapters adapt, or there is no such device or size.
            RunError: too little memory.
        """
        size, num_frames = config.output.size, config.output.chunk_frames
        return cls(load_components(config.models, size=size, num_frames=num_frames), config)

    @classmethod
    def pulled(cls, config: AviEditConfig) -> list[str]:
        """Of the network, unless one is named, and of the encoders that it was trained with."""
        return pulled_of(config.models)

    @classmethod
    def plan(cls, config: AviEditConfig) -> MemoryPlan:
        """For the size and the parts that are set, else the largest of training."""
        output, checkpoint = config.output, find_checkpoint(config.models)
        return plan_components(
            config.models, checkpoint, size=output.size, num_frames=output.chunk_frames
        )

    @property
    def max_precision(self) -> int:
        """P, the precision factor of a box."""
        return self.components.network.sizes.max_precision

    @property
    def num_steps(self) -> int:
        """Steps of the solver for a part."""
        return self.config.solver.num_steps

    @property
    def identity(self) -> dict[str, Any]:
        """What the models are."""
        return dict(self.components.identity)

    def canvas(self, shape: tuple[float, float]) -> Canvas:
        """The size of training that suits a picture best, and parts no longer than its clips."""
        output, buckets = self.config.output, self.components.buckets
        # Pictures are about as large as the largest of training, so no longer than these.
        trained = max((each.tokens_per_frame, each.num_frames) for each in buckets)[1]
        most = output.chunk_frames or trained
        sizes = [(bucket.width_px, bucket.height_px) for bucket in buckets]
        size = output.size or choose_size(shape, sizes, CELL_PX)
        return Canvas(*size, most, TEMPORAL_STRIDE)

    def check(self, spec: EditSpec) -> None:
        """Refuse precision factors and controls that the network does not know, and prompts of
        the source, which it does not read.

        Raises:
            ConfigError: it does not.
        """
        wrong = of_no_use(spec.compared)
        given = spec.mask.precision
        if given is not None and given > self.max_precision:
            wrong.append(f"expected a precision of 0 to {self.max_precision}, got {given}")
        known = self.components.network.sizes.controls
        if unknown := sorted(set(spec.controls) - set(known)):
            wrong.append(
                f"expected controls among {', '.join(known) or 'none'}, got {', '.join(unknown)}"
            )
        refuse(self.name, wrong)

    def prompt_for(self, task: Task) -> str | None:
        """The words of training where something is taken away; else the instruction is read."""
        return self.config.deletion_prompt if task == "deletion" else None

    def edit(self, part: Part, state: Path, listener: Listener) -> Result:
        """Edit a part; the mask is refined on the way, cell by latent cell.

        Raises:
            RunError: too little memory.
        """
        with too_little_told(part.frames_FHWC):
            return self._edit(part, state, listener)

    def _edit(self, part: Part, state: Path, listener: Listener) -> Result:
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
        refined_FHW = to_pixels(solution.mask[0, 0].numpy()) & part.mask_FHW
        # The released loop edits in the user's mask to the end.
        is_released = config.gamr_feedback == "released"
        return Result(
            self.components.decode(solution.latents),
            refined_FHW,
            part.mask_FHW if is_released else refined_FHW,
            _steps(solution, conditions, config, seconds),
        )

    def _conditions(self, part: Part) -> Conditions:
        models = self.components
        latents = models.encode_video(part.frames_FHWC)
        if part.first_HWC is not None:
            latents[:, :, :1] = models.encode_video(part.first_HWC[None])
        references = [models.encode_video(image_HWC[None]) for image_HWC in part.references]
        audio = None
        if part.wave_N is not None and part.task != "deletion":
            audio = models.encode_sound(part.wave_N, len(part.frames_FHWC))
        return Conditions(
            latents=latents,
            mask=to_cells(part.mask_FHW),
            precision=part.precision,
            text=self._text(part.prompt),
            no_text=self._text(self.config.solver.negative_prompt),
            audio=audio,
            controls={kind: models.encode_video(video) for kind, video in part.controls.items()},
            references=torch.cat(references, dim=2) if references else None,
            clean_frames=0 if part.first_HWC is None else 1,
        )


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
