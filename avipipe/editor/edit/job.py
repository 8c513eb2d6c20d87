"""What to edit: one video and one edit or more, from options, YAML, JSON or a line of a batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from avipipe.config_file import told, validated
from avipipe.editor.common.tasks import Task
from avipipe.editor.edit.instruction import noun, read_instruction
from avipipe.errors import ConfigError
from avipipe.manifests.edits import ClipEdit

AUDIO_WAYS = ("keep", "agent")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MaskSpec(_Section):
    """What a method's mask shows, told in one way; in none, the instruction has to name it.

    It shows where to edit, or what stays: see `Method.mask_tells`.
    """

    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = Field(
        None, description="x, y, width, height; pixels, or shares of the picture if all are <= 1."
    )
    polygon: tuple[tuple[FiniteFloat, FiniteFloat], ...] | None = Field(
        None, min_length=3, description="Corners (x, y), in the same units."
    )
    file: Path | None = Field(
        None, description="Image, video or masks.json; white, or opaque, is what the mask shows."
    )
    words: str | None = Field(None, min_length=1, description="What it is; looked for.")
    precision: int | None = Field(
        None, ge=0, description="The factor p: 0 exact … P box; told from the kind of mask if None."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in self._ways if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"expected one of {', '.join(self._ways)}, got {' and '.join(given)}")
        if self.box is not None and min(self.box[2:]) <= 0:
            raise ValueError("a box has a width and a height above 0")
        return self

    @property
    def is_drawn(self) -> bool:
        """Whether it tells where, not what."""
        return any(way is not None for way in (self.box, self.polygon, self.file))

    @property
    def _ways(self) -> tuple[str, ...]:
        return ("box", "polygon", "file", "words")


class EditSpec(_Section):
    """One edit of one instance."""

    instruction: str = Field(min_length=1, description="What to do, in words.")
    prompt: str | None = Field(
        None, description="The scene as it shall be, like a caption; else the instruction itself."
    )
    source_prompt: str | None = Field(
        None, min_length=1, description="The scene as it is, for methods that compare the two."
    )
    anchor_words: tuple[str, ...] = Field(
        (),
        description="Words of the prompt that belong into the mask, for these methods; else those "
        "that the source prompt has not.",
    )
    task: Task | None = Field(None, description="Else told from the instruction.")
    mask: MaskSpec = MaskSpec()
    audio: str = Field(
        "keep", description="`keep`, `agent` (edited as the instruction says), or a file."
    )
    sound_instruction: str | None = Field(
        None, min_length=1, description="What the agent is asked; else the instruction."
    )
    controls: dict[str, Path] = Field(
        default_factory=dict, description="Kind (scribble, pose) -> video or image of the control."
    )
    references: tuple[Path, ...] = Field((), description="Images of what shall be seen.")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sound_instruction is not None and self.audio != "agent":
            raise ValueError("only the agent reads a sound instruction: say `audio: agent`")
        return self

    def below(self, folder: Path) -> Self:
        """With paths that are relative to a folder."""
        mask = self.mask
        if mask.file is not None:
            mask = mask.model_copy(update={"file": folder / mask.file})
        return self.model_copy(
            update={
                "mask": mask,
                "audio": self.audio if self.audio in AUDIO_WAYS else str(folder / self.audio),
                "controls": {kind: folder / path for kind, path in self.controls.items()},
                "references": tuple(folder / path for path in self.references),
            }
        )

    def asked(self, *, names_target: bool = True) -> tuple[Task, str]:
        """What kind of edit is asked for, and of what: words to look for if no mask is drawn.

        Args:
            names_target: whether the instruction must name it where nothing else does.
        Raises:
            ConfigError: it cannot be told.
        """
        request = read_instruction(self.instruction)
        task = self.task or request.task
        if self.mask.is_drawn or not (names_target or self.mask.words):
            return task, ""
        if task == "insertion":
            raise ConfigError(
                f"the instruction {self.instruction!r} adds something: say where with --mask-box, "
                "--mask-polygon or --mask"
            )
        words = noun(self.mask.words or "") or request.target
        if not words:
            raise ConfigError(
                f"the instruction {self.instruction!r} names nothing that could be looked for; say "
                'it like "replace the dog with a cat", name it with --mask-words, or give a mask '
                "with --mask-box, --mask-polygon or --mask"
            )
        return task, words

    @property
    def compared(self) -> dict[str, object]:
        """What was given by options that are only for methods that compare two prompts."""
        return {"--source-prompt": self.source_prompt, "--anchor-words": self.anchor_words}

    @property
    def files(self) -> list[Path]:
        """All that it reads."""
        audio = [] if self.audio in AUDIO_WAYS else [Path(self.audio)]
        mask = [] if self.mask.file is None else [self.mask.file]
        return [*mask, *audio, *self.controls.values(), *self.references]


class Job(_Section):
    """A video and what becomes of it: edits, each made on the result of the one before."""

    name: str = Field("", description="Of its folder, in a batch; else the number of its line.")
    video: Path
    edits: tuple[EditSpec, ...] = Field(min_length=1)
    asked: ClipEdit | None = Field(None, description="The edit pair of a dataset that it is.")

    def below(self, folder: Path) -> Self:
        """With paths that are relative to a folder."""
        edits = tuple(edit.below(folder) for edit in self.edits)
        return self.model_copy(update={"video": folder / self.video, "edits": edits})

    def check(self, *, names_target: bool = True) -> None:
        """Refuse what cannot be done, before anything costs time.

        Args:
            names_target: whether an instruction without a mask must name what is looked for.
        Raises:
            ConfigError: a file is missing, or an instruction names nothing.
        """
        for edit in self.edits:
            edit.asked(names_target=names_target)
        for path in [self.video, *(path for edit in self.edits for path in edit.files)]:
            if not path.is_file():
                raise ConfigError(f"expected a file at {path}, found none; check the path")


def read_job(path: Path, video: Path | None = None) -> Job:
    """A job from a YAML or JSON file.

    Args:
        video: instead of the one in the file.
    Raises:
        ConfigError: it is unreadable or wrong.
    """
    data = told(path)
    if video is not None:
        data["video"] = str(video.resolve())
    return job_of(data, where=path).below(path.parent)


def job_of(data: Mapping[str, Any], *, where: Path) -> Job:
    """A job from what a file says; the keys of a lone edit may stand beside `video`."""
    if "edits" not in data:
        own = {key: data[key] for key in ("name", "video") if key in data}
        data = {**own, "edits": [{k: v for k, v in data.items() if k not in own}]}
    return validated(Job, data, where=where)
