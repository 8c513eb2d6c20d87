"""AudioScenic as a method: tuned on a video, led to noise without sound, and back with another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from avipipe.editor.audio_scenic.components import (
    ScenicModels,
    load_components,
    plan_components,
    pulled_of,
)
from avipipe.editor.audio_scenic.config import ScenicModelsConfig, ScenicSettings
from avipipe.editor.audio_scenic.course import Course, follow, levels_of
from avipipe.editor.audio_scenic.inflate import tuned
from avipipe.editor.audio_scenic.tune import Excerpt, restore, tune, tuned_before, windows
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
    Scene,
    StepTrace,
    of_no_use,
    refuse,
)
from avipipe.errors import ConfigError

MOST_FRAMES = 24
"""One second; as many as Tune-A-Video tunes on at once."""

ADVICE = (
    "--offload models, with which it goes on from here; or, with another --out, --tile-vae, fewer "
    "frames at once (--set output.chunk_frames=12), or a smaller picture (--set "
    "output.size=[512,512])"
)
"""What needs less memory."""


class AudioScenicConfig(EditConfig):
    """What edits by AudioScenic can be told beside the job."""

    options: ClassVar = {
        **EditConfig.options,
        "--model": "models.diffusion",
        "--offload": "models.offload",
        "--tile-vae": "models.tiled_vae",
        "--steps": "audio_scenic.num_steps",
    }
    not_decisive: ClassVar = frozenset(
        {"diffusion", "controlnet", "depth", "clap", "imagebind", "device", "offload"}
    )

    method: str = "audio_scenic"
    models: ScenicModelsConfig = ScenicModelsConfig()
    audio_scenic: ScenicSettings = ScenicSettings()


class AudioScenic(Method):
    """The models of AudioScenic, ready to edit the scene around what a mask says shall stay."""

    name = "audio_scenic"
    settings = AudioScenicConfig
    mask_tells = "stay"
    keeps_sound = False

    def __init__(self, components: ScenicModels, config: AudioScenicConfig) -> None:
        self.components = components
        self.config: AudioScenicConfig = config

    @classmethod
    def load(cls, config: AudioScenicConfig) -> Self:
        """Load Stable Diffusion, its ControlNet, Depth Anything, and CLAP or ImageBind.

        Raises:
            WeightsError: weights are missing, not whole, or of another kind.
            ConfigError: there is no such device, the network cannot take such pictures, or was
                trained with fewer steps.
            RunError: too little memory.
        """
        settings = config.audio_scenic
        components = load_components(config.models, settings, *_most(config))
        levels_of(components.schedule, settings.num_steps)  # refused before anything is done
        return cls(components, config)

    @classmethod
    def pulled(cls, config: AudioScenicConfig) -> list[str]:
        """Of each model for which no folder is named."""
        return pulled_of(config.models)

    @classmethod
    def plan(cls, config: AudioScenicConfig) -> MemoryPlan:
        """For the largest of the sizes."""
        return plan_components(config.models, config.audio_scenic, *_most(config))

    @property
    def num_steps(self) -> int:
        """Steps that are made for a part, to noise and back."""
        return 2 * self.config.audio_scenic.num_steps

    @property
    def identity(self) -> dict[str, Any]:
        """What the models are."""
        return dict(self.components.identity)

    def canvas(self, shape: tuple[float, float]) -> Canvas:
        """A size of about as many pixels as are edited at, and parts of a second."""
        output = self.config.output
        cell_px = self.components.cell_px
        size = output.size or choose_size(shape, self.config.audio_scenic.sizes, cell_px)
        return Canvas(*size, output.chunk_frames or MOST_FRAMES, 1)

    def check(self, spec: EditSpec) -> None:
        """Refuse an edit without a sound of its own, or with what is not looked at.

        Raises:
            ConfigError: there is something.
        """
        wrong = []
        if spec.audio == "keep":
            wrong.append(
                "it needs --audio FILE, the sound that changes the scene and is heard in the "
                "result (or --audio agent, which makes one)"
            )
        if not spec.mask.is_drawn and not spec.mask.words:
            wrong.append("it needs --mask, --mask-box, --mask-polygon or --mask-words: what stays")
        task, _ = spec.asked(names_target=False)
        if task != "edit":
            wrong.append(f"it changes the scene around what stays, and makes no {task}")
        unread = {"--control": spec.controls, "--reference": spec.references}
        refuse(self.name, [*wrong, *of_no_use({**spec.compared, **unread})])

    def fallbacks(self, spec: EditSpec) -> Sequence[str]:
        """That a prompt is not read, if there is one."""
        if spec.prompt is None:
            return ()
        return (
            "the network does not read the prompt: what the scene becomes, the sound says alone",
        )

    def prompt_for(self, task: str) -> str:
        """Nothing is read."""
        return ""

    def fit(self, scene: Scene, folder: Path, listener: Listener, *, seed: int) -> None:
        """Tune the network on the video and its sound.

        Raises:
            ConfigError: the video has no sound.
            RunError: too little memory, or the network answers with what is no number.
        """
        if not scene.has_sound:
            raise ConfigError(
                f"the method {self.name} is tuned on the video with its own sound, and this video "
                "has none; give it one first"
            )
        models, settings = self.components, self.config.audio_scenic
        weights = tuned(models.network.unet)
        restore(weights.values(), models.untuned)
        if tuned_before(weights, folder):
            return

        def told(step: int, loss: float) -> None:
            listener.said(f"tuned {step} of {settings.tuning_steps} steps, loss {loss:.4f}")

        listener.said("tuning on the video")
        frames = windows(scene.footage.num_frames, self.config.output.chunk_frames or MOST_FRAMES)
        with too_little_told(scene.footage.read(frames[0]), ADVICE):
            excerpts = [self._excerpt(scene, each) for each in frames]
            with models.placement.at_work(models.network.unet):
                tune(
                    models.network.says,
                    weights,
                    models.schedule,
                    excerpts,
                    settings,
                    folder,
                    seed=seed,
                    told=told,
                )

    def _excerpt(self, scene: Scene, frames: range) -> Excerpt:
        """Frames of a video and their sound, which all of the picture hears."""
        models = self.components
        pictures = scene.footage.read(frames)
        everywhere = np.ones(pictures.shape[:3], dtype=np.bool_)
        heard = models.hear(scene.hear(frames), everywhere, self.config.audio_scenic)
        return Excerpt(models.encode(pictures), heard)

    def edit(self, part: Part, state: Path, listener: Listener) -> Result:
        """Edit the scene of a part.

        Raises:
            RunError: too little memory, or the network answers with what is no number.
        """
        with too_little_told(part.frames_FHWC, ADVICE):
            return self._edit(part, state, listener)

    def _edit(self, part: Part, state: Path, listener: Listener) -> Result:
        models, settings = self.components, self.config.audio_scenic
        network, device = models.network, models.placement.device
        course = self._course(part).to(device)
        seconds: dict[int, float] = {}

        def on_step(step: EditStep[Editing]) -> None:
            seconds[step.index] = round(step.seconds, 4)
            step.editing.save(state)
            listener.stepped()

        start = Editing.load(state).to(device) if state.exists() else None
        if start is not None:
            listener.skipped(start.step)
        with models.placement.at_work(network.unet), models.placement.at_work(network.controlnet):
            latents = follow(network, models.schedule, course, on_step=on_step, start=start)
        levels = levels_of(models.schedule, settings.num_steps)
        steps = tuple(
            StepTrace(
                step=index, sigma=models.schedule.shares(level)[1], seconds=seconds.get(index)
            )
            for index, level in enumerate(levels[:-1])
        )
        return Result(models.decode(latents.cpu()), part.mask_FHW, part.mask_FHW, steps)

    def _course(self, part: Part) -> Course:
        models, settings = self.components, self.config.audio_scenic
        assert part.wave_N is not None, "an edit without a sound is refused"
        source_FChw = models.encode(part.frames_FHWC)
        first_Chw = None if part.first_HWC is None else models.encode(part.first_HWC[None])[0]
        generator = sample_generator(part.seed, self.name)
        return Course(
            source_FChw,
            models.hear(part.wave_N, part.mask_FHW, settings),
            models.shapes(part.frames_FHWC),
            first_Chw,
            draw_noise(source_FChw.shape[1:], [generator])[0],
            settings.num_steps,
        )


def _most(config: AudioScenicConfig) -> tuple[Sequence[tuple[int, int]], int]:
    """Sizes of pictures that may be edited, and the most frames at once."""
    output = config.output
    sizes = (output.size,) if output.size else config.audio_scenic.sizes
    return sizes, output.chunk_frames or MOST_FRAMES
