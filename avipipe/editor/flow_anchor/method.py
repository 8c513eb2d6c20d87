"""FlowAnchor as a method: from frames, mask and two prompts to latents, the flow, and back."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from avipipe.editor.common.canvas import choose_size
from avipipe.editor.common.flow import draw_noise, sample_generator
from avipipe.editor.common.memory import too_little_told
from avipipe.editor.common.state import Editing, EditStep
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
    missing_prompts,
    of_no_use,
    refuse,
)
from avipipe.editor.flow_anchor.anchors import anchor_tokens
from avipipe.editor.flow_anchor.components import WanModels, load_components, plan_components
from avipipe.editor.flow_anchor.config import FlowAnchorSettings, WanConfig
from avipipe.editor.flow_anchor.flow_edit import Edit, flow_edit, sigmas_of
from avipipe.editor.flow_anchor.sar import Anchors
from avipipe.editor.flow_anchor.velocity import Prompts, WanVelocities
from avipipe.errors import ConfigError

MOST_FRAMES = 81
"""Wan's longest video."""


class FlowAnchorConfig(EditConfig):
    """What edits by FlowAnchor can be told beside the job."""

    options: ClassVar = {
        **EditConfig.options,
        "--model": "models.wan",
        "--offload": "models.offload",
        "--tile-vae": "models.tiled_vae",
        "--steps": "flow_anchor.num_steps",
    }
    not_decisive: ClassVar = frozenset({"weights", "wan", "device", "offload"})

    method: str = "flow_anchor"
    models: WanConfig = WanConfig()
    flow_anchor: FlowAnchorSettings = FlowAnchorSettings()


class FlowAnchor(Method):
    """The models of FlowAnchor, ready to edit. What it edits, the prompts' difference says; the
    mask says where the words of that difference are to be seen."""

    name = "flow_anchor"
    settings = FlowAnchorConfig
    reads_source = True

    def __init__(self, components: WanModels, config: FlowAnchorConfig) -> None:
        self.components = components
        self.config: FlowAnchorConfig = config
        self._text = lru_cache(maxsize=8)(components.encode_text)

    @classmethod
    def load(cls, config: FlowAnchorConfig) -> Self:
        """Load Wan.

        Raises:
            WeightsError: weights are missing, not whole, or of another kind.
            ConfigError: there is no such device, or the network cannot take such pictures.
            RunError: too little memory.
        """
        return cls(load_components(config.models, *_most(config)), config)

    @classmethod
    def pulled(cls, config: FlowAnchorConfig) -> list[str]:
        """Of Wan, unless a folder is named."""
        return [config.models.weights] if config.models.wan is None else []

    @classmethod
    def plan(cls, config: FlowAnchorConfig) -> MemoryPlan:
        """For the largest of the sizes."""
        return plan_components(config.models, *_most(config))

    @property
    def num_steps(self) -> int:
        """Steps that are made for a part."""
        return len(sigmas_of(self.config.flow_anchor)) - 1

    @property
    def identity(self) -> dict[str, Any]:
        """What the models are."""
        return dict(self.components.identity)

    def canvas(self, shape: tuple[float, float]) -> Canvas:
        """The size of Wan that suits a picture best, and parts no longer than its videos."""
        output, video = self.config.output, self.components.video
        cell_px = video.spatial_stride * self.components.network.config.patch_size[1]
        size = output.size or choose_size(shape, self.config.flow_anchor.sizes, cell_px)
        return Canvas(*size, output.chunk_frames or MOST_FRAMES, video.temporal_stride)

    def check(self, spec: EditSpec) -> None:
        """Refuse an edit without two prompts, or with what is not looked at.

        Raises:
            ConfigError: there is something.
        """
        wrong = missing_prompts(spec)
        unread = {"--control": spec.controls, "--reference": spec.references}
        if not self.config.flow_anchor.sar:
            unread["--anchor-words (with flow_anchor.sar=false)"] = spec.anchor_words
        wrong += of_no_use(unread)
        if spec.prompt is not None and spec.source_prompt is not None:
            try:
                self._anchored(spec.source_prompt, spec.prompt, spec.anchor_words)
            except ConfigError as error:
                wrong.append(str(error))
        refuse(self.name, wrong)

    def fallbacks(self, spec: EditSpec) -> Sequence[str]:
        """That attention is not refined, where no word could be anchored."""
        assert spec.prompt is not None
        assert spec.source_prompt is not None
        is_anchored = self._anchored(spec.source_prompt, spec.prompt, spec.anchor_words).any()
        if is_anchored or not self.config.flow_anchor.sar:
            return ()
        return (
            "the prompt has no word that the source prompt has not, so that none is drawn into the "
            "mask; change the prompts, or name words with --anchor-words",
        )

    def edit(self, part: Part, state: Path, listener: Listener) -> Result:
        """Edit a part by the flow of its prompts.

        Raises:
            RunError: too little memory, or the network answers with what is no number.
        """
        with too_little_told(part.frames_FHWC):
            return self._edit(part, state, listener)

    def _edit(self, part: Part, state: Path, listener: Listener) -> Result:
        models, settings = self.components, self.config.flow_anchor
        device = models.placement.device
        edit, prompts = self._conditions(part)
        edit, prompts = edit.to(device), prompts.to(device, models.network.dtype)
        seconds: dict[int, float] = {}

        def on_step(step: EditStep[Editing]) -> None:
            seconds[step.index] = round(step.seconds, 4)
            step.editing.save(state)
            listener.stepped()

        def draw(step: int, number: int) -> Tensor:
            generator = sample_generator(part.seed, self.name, step, number)
            return draw_noise(edit.source.shape[1:], [generator]).to(device)

        start = Editing.load(state).to(device) if state.exists() else None
        if start is not None:
            listener.skipped(start.step)
        with models.placement.at_work(models.network, is_network=True):
            velocities = WanVelocities(models.network, prompts, settings)
            latents = flow_edit(velocities, edit, settings, draw, on_step=on_step, start=start)
        steps = tuple(
            StepTrace(step=index, sigma=sigma, seconds=seconds.get(index))
            for index, sigma in enumerate(sigmas_of(settings)[:-1])
        )
        return Result(models.decode(latents.cpu()), part.mask_FHW, part.mask_FHW, steps)

    def _conditions(self, part: Part) -> tuple[Edit, Prompts]:
        models, settings = self.components, self.config.flow_anchor
        assert part.source_prompt is not None
        first = None if part.first_HWC is None else models.encode_video(part.first_HWC[None])
        edit = Edit(models.encode_video(part.frames_FHWC), models.cells(part.mask_FHW), first)
        words_L = self._anchored(part.source_prompt, part.prompt, part.anchor_words)
        anchors = None
        if settings.sar and words_L.any():
            strengths = settings.text_strength, settings.space_strength
            anchors = Anchors(words_L, models.tokens(part.mask_FHW), *strengths)
        prompts = Prompts(
            self._text(part.source_prompt),
            self._text(part.prompt),
            self._text(settings.negative_prompt),
            anchors,
        )
        return edit, prompts

    def _anchored(self, source: str, prompt: str, words: Sequence[str]) -> Tensor:
        return anchor_tokens(self.components.text, source, prompt, words)


def _most(config: FlowAnchorConfig) -> tuple[Sequence[tuple[int, int]], int]:
    """Sizes of pictures that may be edited, and the most frames at once."""
    output = config.output
    sizes = (output.size,) if output.size else config.flow_anchor.sizes
    return sizes, output.chunk_frames or MOST_FRAMES
