"""What is measured: each edit with its source, as lines of a manifest.

A case that cannot be measured stays in the list with its problem, so that it is counted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.datasets import SourceClip, is_dataset, unpacked
from avipipe.evaluate.metrics.checklist_judge import ChecklistItem
from avipipe.evaluate.metrics.five_acc import FiveQuestions
from avipipe.evaluate.metrics.si_sdr import EventSpan
from avipipe.files import write_whole
from avipipe.media.crop import WHOLE, Shares

Control = Literal["", "copy", "frozen", "vae", "shuffled", "shifted"]
"""How a control is made of a source; empty for an edit."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".gif"}
)
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff"})
MASK_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {".json"}

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


def cases_of_folders(
    source: Path | None, edits: Mapping[str, Path], mask: Path | None, unpack_into: Path
) -> list[Case]:
    """A case for each video of a folder and each method, paired by name without the suffix.

    Args:
        source: the folder of the sources, or a published dataset; None where every edit says what
            it was made of.
        edits: method -> folder of its videos, or of results of `avipipe edit --batch`.
        mask: folder of masks with the names of the sources.
        unpack_into: folder for the clips of a dataset that were edited.
    Raises:
        ConfigError: a folder is missing or holds nothing of the kind.
        ManifestError: two files have one name, or the dataset is damaged.
    """
    clips: dict[str, SourceClip] = {}
    if source is not None and is_dataset(source):
        names = {name for folder in edits.values() for name in _edit_names(folder)}
        clips = unpacked(source, unpack_into, names=names)
        sources = {name: clip.video for name, clip in clips.items()}
    else:
        sources = {} if source is None else _by_name(source, VIDEO_SUFFIXES)
    masks = {name: clip.mask for name, clip in clips.items()}
    masks |= {} if mask is None else _by_name(mask, MASK_SUFFIXES)
    cases: list[Case] = []
    for method, folder in edits.items():
        if source is None and not is_batch(folder):
            raise ConfigError(
                f"{folder} holds no results of `avipipe edit`, which say what they were made of: "
                "give the folder of the sources with --source"
            )
        cases += [_with_more(case, masks, clips) for case in _made(method, folder, sources)]
    return completed(cases, ", ".join(str(folder) for folder in edits.values()))


def cases_of_asked(asked: Sequence[AskedEdit], edits: Mapping[str, Path]) -> list[Case]:
    """A case for each edit that was asked for and each method, paired by name.

    Args:
        asked: such as a benchmark's; what it says goes before what an edit says of itself.
        edits: method -> folder of its videos, or of results of `avipipe edit --batch`.
    Raises:
        ConfigError: a folder is missing or holds nothing of the kind.
        ManifestError: two files or two that were asked for have one name, or nothing was.
    """
    by_name = {each.name: each for each in asked}
    if len(by_name) < len(asked):
        twice = next(each.name for each in asked if by_name[each.name] is not each)
        raise ManifestError(f"expected other names for other edits, found {twice!r} twice")
    sources = {each.name: each.source for each in asked if each.source is not None}
    cases: list[Case] = []
    for method, folder in edits.items():
        made = {case.name: case for case in _made(method, folder, sources)}
        for name in sorted({*by_name, *made}):
            missing = Case(name=name, method=method, problem=f"{method} has no edit of it")
            case = made.get(name, missing)
            cases.append(case.model_copy(update=_told(by_name[name]) if name in by_name else {}))
    return completed(cases, ", ".join(str(folder) for folder in edits.values()))


def _told(asked: AskedEdit) -> dict[str, Any]:
    return {key: getattr(asked, key) for key in asked.model_dump(exclude_defaults=True)}


def _made(method: str, folder: Path, sources: Mapping[str, Path]) -> list[Case]:
    if is_batch(folder):
        return [_batch_case(method, place, sources) for place in _places(folder)]
    videos = _by_name(folder, VIDEO_SUFFIXES)
    return [_paired(method, name, sources, videos) for name in sorted({*sources, *videos})]


def _with_more(case: Case, masks: Mapping[str, Path], clips: Mapping[str, SourceClip]) -> Case:
    """With its mask, and what a dataset says of its source."""
    told: dict[str, Any] = {"mask": masks.get(case.name)}
    if (clip := clips.get(case.name)) is not None:
        told |= {"label": clip.label, "group": clip.group}
        told["source_prompt"] = case.source_prompt or clip.caption
    return case.model_copy(update=told)


def _edit_names(folder: Path) -> Iterator[str]:
    if is_batch(folder):
        return (place.name.removesuffix(".partial") for place in _places(folder))
    return iter(_by_name(folder, VIDEO_SUFFIXES))


def _paired(
    method: str, name: str, sources: Mapping[str, Path], videos: Mapping[str, Path]
) -> Case:
    problem = ""
    if name not in videos:
        problem = f"{method} has no edit of it"
    elif name not in sources:
        problem = "there is no source of its name"
    return Case(
        name=name,
        method=method,
        source=sources.get(name),
        edit=videos.get(name),
        problem=problem,
    )


def _by_name(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise ConfigError(f"expected a folder at {folder}, found none; check the path")
    found: dict[str, Path] = {}
    for path in sorted(folder.absolute().iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        name = path.name.removesuffix(path.suffix).removesuffix(".masks")
        if name in found:
            raise ManifestError(
                f"{folder}: {found[name].name} and {path.name} have one name; they cannot be told "
                "apart: rename one"
            )
        found[name] = path
    if not found:
        raise ConfigError(f"{folder}: expected files such as NAME.mp4 or NAME.mkv, found none")
    return found


def is_batch(folder: Path) -> bool:
    """Whether a folder holds results of `avipipe edit`: folders with a trace, or begun ones."""
    return any(folder.glob("*/job.json"))


def _places(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.absolute().glob("*/job.json"))


def _batch_case(method: str, folder: Path, sources: Mapping[str, Path]) -> Case:
    """What `avipipe edit` says of one of its results, in `trace.json`."""
    name = folder.name.removesuffix(".partial")
    trace = folder / "trace.json"
    source = sources.get(name)
    if name != folder.name or not trace.is_file():
        return Case(name=name, method=method, source=source, problem="the edit was not finished")
    try:
        return _traced(name, method, folder, json.loads(trace.read_bytes()), source)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        ZeroDivisionError,
    ) as error:
        problem = f"{trace.name} is damaged: {type(error).__name__}: {error}"
        return Case(name=name, method=method, source=source, problem=problem)


def _traced(
    name: str, method: str, folder: Path, trace: Mapping[str, Any], source: Path | None
) -> Case:
    video, edit = trace["video"], trace["edits"][-1]
    own = Path(video["path"])
    if source is None and own.is_file():
        source = own
    is_only, mask = len(trace["edits"]) == 1, folder / "mask.mkv"
    return Case(
        name=name,
        method=method,
        source=source,
        edit=folder / "edited.mp4",
        edit_mask=mask if is_only and mask.is_file() else None,
        source_prompt=edit.get("source_prompt") or "",
        target_prompt=edit["prompt"],
        instruction=edit["instruction"],
        group=str(video["sha256"]),
        seed=edit["seed"],
        precision=edit.get("mask", {}).get("precision"),
        shown=_shown(video),
        making_s=trace["seconds"],
        problem=""
        if source is not None
        else f"its source {own} is gone; give the folder of the sources with --source",
    )


def _shown(video: Mapping[str, Any]) -> Shares:
    """The part of the source that was edited, as shares; edits cut what their canvas lacks."""
    (width, height), (own_width, own_height) = video["scaled_size"], video["edited_size"]
    left, top = video["cut_left_px"], video["cut_top_px"]
    return (
        left / width,
        top / height,
        (left + own_width) / width,
        (top + own_height) / height,
    )


def select(cases: Sequence[Case], shard: tuple[int, int]) -> list[Case]:
    """The share of the cases that shard i of n measures; those of one group stay together.

    Args:
        shard: i, from 1, and n.
    """
    index, count = shard
    groups = sorted({case.group for case in cases})
    own = set(groups[index - 1 :: count])
    return [case for case in cases if case.group in own]
