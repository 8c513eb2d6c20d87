"""What is measured: each edit with its source, as lines of a manifest.

A case that cannot be measured stays in the list with its problem, so that it is counted.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.metrics.checklist_judge import ChecklistItem
from avipipe.evaluate.metrics.five_acc import FiveQuestions
from avipipe.evaluate.metrics.si_sdr import EventSpan
from avipipe.files import write_whole
from avipipe.media.crop import WHOLE, Shares

Control = Literal["", "copy", "frozen", "vae", "shuffled", "shifted"]
"""How a control is made of a source; empty for an edit."""


_FILES = ("source", "edit", "mask", "edit_mask", "sound_of")


class AskedEdit(BaseModel):
    """What is asked of one source, before anyone has edited it: a line of a benchmark.

    Attributes:
        name: of the source and what was asked; the edits that several methods made of it share it.
        mask: where it is to be edited: an image, a video or `masks.json` of the source's picture;
            white is the inside.
        group: cases of one group are not independent: they are made of one video.
        label: the class by which the report slices.
        target_label: the class of what is there after the edit; empty where it goes.
        events_s: when what is to be edited sounds in the source, half-open spans from its first
            picture.
        questions: those of FiVE-Acc, for a judge.
        checklist: questions to which yes is good, for a judge.
        kind: what kind of edit it is; the report slices by that, too.
        problem: why there is nothing to measure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    source: Path | None = None
    mask: Path | None = None
    source_prompt: str = ""
    target_prompt: str = ""
    instruction: str = ""
    label: str = ""
    kind: str = ""
    group: str = ""
    target_label: str = ""
    events_s: tuple[EventSpan, ...] = ()
    questions: FiveQuestions | None = None
    checklist: tuple[ChecklistItem, ...] = ()
    problem: str = ""

    def below(self, folder: Path) -> Self:
        """With paths that are relative to a folder."""
        return self.model_copy(update={key: folder / path for key, path in self.files.items()})

    @property
    def files(self) -> dict[str, Path]:
        """All that is read of it."""
        found = {key: getattr(self, key, None) for key in _FILES}
        return {key: path for key, path in found.items() if path is not None}


class Case(AskedEdit):
    """One edit of one source.

    Attributes:
        method: who made the edit.
        edit_mask: the mask that the method came out with, of the edit's picture; compared with
            `mask`, and taken for it where there is none.
        precision: how far the mask that the method was given may be from the exact one, 0 to P.
        shown: the part of the upright source that the edit shows.
        making_s: what it took to make the edit.
        control: how the edit is derived from the source, for a control.
        sound_of: the file whose sound a shuffled control has.
        vae: the folder of the VAE through which a control goes.
    """

    method: str = Field(min_length=1)
    edit: Path | None = None
    edit_mask: Path | None = None
    seed: int | None = None
    precision: int | None = Field(None, ge=0)
    shown: Shares = WHOLE
    making_s: float | None = Field(None, ge=0)
    control: Control = ""
    sound_of: Path | None = None
    vae: Path | None = None


_Line = TypeVar("_Line", bound=AskedEdit)
_METHOD_HINTS = {
    AskedEdit: "it is an edit already: leave out --edit",
    Case: "say who made it, or give the edits of these cases with --edit METHOD=FOLDER",
}
"""What to do where a line has a method and should not, and where it should and has none."""


def read_cases(path: Path) -> list[Case]:
    """The cases of a manifest of JSON lines; paths in it are relative to it.

    Raises:
        ConfigError: it cannot be read.
        ManifestError: a line is no case, two are of one name and method, or there is none.
    """
    return completed(_lines(path, Case), str(path))


def read_asked(path: Path) -> list[AskedEdit]:
    """The edits that a manifest of JSON lines asks for; paths in it are relative to it.

    Raises:
        ConfigError: it cannot be read.
        ManifestError: a line asks for no edit.
    """
    return _lines(path, AskedEdit)


def _lines(path: Path, kind: type[_Line]) -> list[_Line]:
    try:
        # Only "\n" ends a line of JSON: `splitlines` would cut texts at U+2028 and its like.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read these cases: {error}") from error
    return [
        _line(line, f"{path}, line {number}", path.parent, kind)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _line(line: str, where: str, folder: Path, kind: type[_Line]) -> _Line:
    try:
        case = kind.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        hint = f"a line has {', '.join(kind.model_fields)}"
        if key == "method":
            hint = _METHOD_HINTS[kind]
        raise ManifestError(f"{where}: `{key}`: {first['msg']}; {hint}") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: expected a JSON object: {error}") from error
    return case.below(folder.absolute())


def write_cases(path: Path, cases: Iterable[AskedEdit]) -> None:
    """Write a manifest, whole or not at all."""
    lines = [json.dumps(case.model_dump(mode="json", exclude_defaults=True)) for case in cases]
    write_whole(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))


def completed(cases: Sequence[Case], where: str) -> list[Case]:
    """The cases in order, each with a group, and one for each edit that a method should have.

    Raises:
        ManifestError: there are none, or two of one name and method.
    """
    found: dict[tuple[str, str], Case] = {}
    for case in cases:
        key = (case.method, case.name)
        if key in found:
            raise ManifestError(f"{where}: two cases are {case.name!r} by {case.method!r}")
        found[key] = case.model_copy(update={"group": case.group or _group(case)})
    if not found:
        raise ManifestError(f"{where}: expected at least one case, found none")
    edits = [case for case in found.values() if not case.control]
    for method in {case.method for case in edits}:
        for case in edits:
            if (method, case.name) not in found:
                found[method, case.name] = _missing(case, method)
    return [found[key] for key in sorted(found)]


def _group(case: Case) -> str:
    return str(case.source) if case.source is not None else case.name


def _missing(case: Case, method: str) -> Case:
    problem = f"{method} has no edit of it, though {case.method} has"
    own = dict.fromkeys(("edit", "edit_mask", "seed", "precision", "making_s"))
    return case.model_copy(update={**own, "method": method, "problem": case.problem or problem})


def select(cases: Sequence[Case], shard: tuple[int, int]) -> list[Case]:
    """The share of the cases that shard i of n measures; those of one group stay together.

    Args:
        shard: i, from 1, and n.
    """
    index, count = shard
    groups = sorted({case.group for case in cases})
    own = set(groups[index - 1 :: count])
    return [case for case in cases if case.group in own]
