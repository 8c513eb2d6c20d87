"""What an editing method is to jobs: from frames, mask, words and sound to other frames.

A method is a folder beside this one, with a class of this kind that `methods.py` names. It imports
this module and `avipipe.editor.common`, and never another method.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from avipipe.annotators.base import Frames, Mask, Wave
from avipipe.editor.common.media import decode_sound
from avipipe.editor.common.memory import MemoryPlan
from avipipe.editor.common.tasks import Task
from avipipe.editor.edit.config import EditConfig
from avipipe.editor.edit.footage import Footage
from avipipe.editor.edit.job import EditSpec
from avipipe.editor.edit.listener import Listener
from avipipe.editor.edit.trace import MaskTells, StepTrace
from avipipe.errors import ConfigError

__all__ = [
    "Canvas",
    "EditConfig",
    "EditSpec",
    "Footage",
    "Listener",
    "MemoryPlan",
    "Method",
    "Part",
    "Result",
    "Scene",
    "StepTrace",
    "missing_prompts",
    "of_no_use",
    "refuse",
]


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a method edits of a video at once.

    Attributes:
        width_px, height_px: of the pictures.
        most_frames: as long as a part may be, `frame_step` n + 1.
        frame_step: parts are `frame_step` n + 1 frames long.
    """

    width_px: int
    height_px: int
    most_frames: int
    frame_step: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A video as an edit finds it: frames, sound, and whether there is anything to hear."""

    footage: Footage
    sound: Path
    has_sound: bool

    def hear(self, frames: range) -> Wave:
        """The sound of some frames, mono at 16 kHz."""
        return decode_sound(self.sound.read_bytes(), frames, where=str(self.sound))


@dataclass(frozen=True, slots=True)
class Part:
    """Frames that are edited at once: F = `frame_step` n + 1 of H x W pixels at 24 fps.

    Attributes:
        mask_FHW: where to edit.
        precision: the factor p of the mask, 0 exact … `max_precision` box.
        wave_N: mono at 16 kHz, of the frames; None where there is nothing to hear.
        source_prompt, anchor_words: as of the edit.
        first_HWC: the first frame, where the part before has edited it already.
        controls: kind -> frames (F, H, W, 3).
        references: images (H, W, 3).
        seed: of the noise; each part of a video has its own.
    """

    frames_FHWC: Frames
    mask_FHW: Mask
    precision: int
    task: Task
    prompt: str
    source_prompt: str | None
    anchor_words: Sequence[str]
    wave_N: Wave | None
    first_HWC: Frames | None
    controls: Mapping[str, Frames]
    references: Sequence[Frames]
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a part.

    Attributes:
        refined_FHW: the mask as the method left it, within the one it was given.
        shown_FHW: where the new picture is to be seen; elsewhere the source's may stand.
        sound_N: what sounds now, mono at 16 kHz, as long as all frames; None where the method
            leaves the sound as it is. Of a video, all parts have it or none.
        native_FHWC: frames at the method's own rate `native_fps`, from the first frame on.
    """

    frames_FHWC: Frames
    refined_FHW: Mask
    shown_FHW: Mask
    steps: tuple[StepTrace, ...]
    sound_N: Wave | None = None
    native_FHWC: Frames | None = None


def refuse(name: str, wrong: Sequence[str]) -> None:
    """Refuse an edit for all that a method finds wrong with it.

    Raises:
        ConfigError: there is something.
    """
    if wrong:
        raise ConfigError(f"the method {name} cannot make this edit: {'; '.join(wrong)}")


def missing_prompts(spec: EditSpec) -> list[str]:
    """What a method that compares two prompts finds missing, in words."""
    needed = {
        "--source-prompt, the scene as it is": spec.source_prompt,
        "--prompt, the scene as it shall be": spec.prompt,
    }
    return [f"it needs {what}, like a caption" for what, text in needed.items() if not text]


def of_no_use(unread: Mapping[str, object]) -> list[str]:
    """What is wrong with options that a method does not look at, in words.

    Args:
        unread: option -> what was given, if anything.
    """
    return [f"{option} is of no use to it" for option, given in unread.items() if given]


class Method(ABC):
    """An editing method, ready to edit.

    Attributes:
        name: under which it is asked for, and its own settings stand.
        settings: the class of its configuration.
        reads_source: whether it reads how the scene is, besides how it shall be.
        keeps_sound: whether an edit may leave the sound of the video as it is.
        mask_tells: what a user's mask shows: what to edit, or what stays, so that all else is
            edited. Of a part, the mask always says where to edit.
        needs_mask: whether it must be told where to edit; else the whole picture is open where
            nothing tells, and a part whose mask is empty is still given to it, for its sound.
        native_fps: frames a second of what it makes itself, where that is not the video's rate;
            the run leaves them as a video of their own.
        config: how it was asked to edit.
    """

    name: ClassVar[str]
    settings: ClassVar[type[EditConfig]]
    reads_source: ClassVar[bool] = False
    keeps_sound: ClassVar[bool] = True
    mask_tells: ClassVar[MaskTells] = "edit"
    needs_mask: ClassVar[bool] = True
    native_fps: ClassVar[int | None] = None
    config: EditConfig

    @classmethod
    @abstractmethod
    def load(cls, config: Any) -> Self:
        """Load the models of the method.

        Args:
            config: one of `settings`.
        Raises:
            WeightsError: weights are missing: all that are, and what to run.
            ConfigError: a setting does not go with these models or this machine.
            RunError: too little memory; what would help.
        """

    @classmethod
    @abstractmethod
    def pulled(cls, config: Any) -> Sequence[str]:
        """Names in the lock file of the weights that `load` takes; none that settings replace.

        Args:
            config: one of `settings`.
        """

    @classmethod
    @abstractmethod
    def plan(cls, config: Any) -> MemoryPlan:
        """What the device will hold, told before anything large is read.

        Args:
            config: one of `settings`.
        Raises:
            WeightsError, ConfigError: as of `load`.
        """

    @classmethod
    def looks_for_target(cls) -> bool:
        """Whether what an instruction names is looked for where no mask tells; it never stays."""
        return cls.needs_mask and cls.mask_tells == "edit"

    @property
    def max_precision(self) -> int:
        """P, the precision factor of a box; one that takes masks as they are needs no other."""
        return 4

    @property
    @abstractmethod
    def num_steps(self) -> int:
        """Steps of the solver for a part; what progress counts."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What the models are: part -> hash of its weights and settings."""

    @abstractmethod
    def canvas(self, shape: tuple[float, float]) -> Canvas:
        """How a video is edited whose pictures have a shape (width, height)."""

    @abstractmethod
    def check(self, spec: EditSpec) -> None:
        """Refuse an edit that it cannot make, before anything costs time.

        Raises:
            ConfigError: something it needs is missing, or something given is of no use to it.
        """

    def fallbacks(self, spec: EditSpec) -> Sequence[str]:
        """What it does otherwise than asked, in words."""
        return ()

    def prompt_for(self, task: Task) -> str | None:
        """What is read where no prompt is given; None: the instruction itself."""
        return None

    def fit(self, scene: Scene, folder: Path, listener: Listener, *, seed: int) -> None:  # noqa: B027
        """Prepare for one video, such as by tuning on it, where any part of it is still to edit.

        Args:
            seed: of the edit.
            folder: its own; called again, it goes on from what is there. A file that is written
                over on the way ends in `.pt` and checks itself; any other stays as it is.
        """

    @abstractmethod
    def edit(self, part: Part, state: Path, listener: Listener) -> Result:
        """Edit the frames of a part within its mask.

        Args:
            state: file that each step is kept in, and gone on from if it is there.
            listener: is told of each step.
        Raises:
            RunError: too little memory, or a model answers with what is no number.
        """
