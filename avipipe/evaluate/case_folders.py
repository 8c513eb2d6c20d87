"""Cases of folders: edits paired with their sources by name, or told by who made them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.cases import AskedEdit, Case, completed
from avipipe.evaluate.datasets import SourceClip, is_dataset, unpacked
from avipipe.manifests.edits import ClipEdit, EditPair, clip_of
from avipipe.media.crop import Shares

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".gif"}
)
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff"})
MASK_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {".json"}


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
        found = unpacked(source, unpack_into, names={clip_of(name) for name in names})
        clips = {name: found[clip_of(name)] for name in names if clip_of(name) in found}
        sources = {name: clip.video for name, clip in clips.items()}
    else:
        sources = {} if source is None else _by_name(source, VIDEO_SUFFIXES)
    masks = {} if mask is None else _by_name(mask, MASK_SUFFIXES)
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
        told["group"] = clip.group
        own = {"label": clip.label, "source_prompt": clip.caption}
        for pair in clip.edits:
            if case.name.endswith(f"-{pair.name}"):
                own = told_by(pair)
        told |= {key: value for key, value in own.items() if not getattr(case, key)}
        told["mask"] = told["mask"] or clip.mask_of(told.get("kind", case.kind))
    return case.model_copy(update=told)


def told_by(pair: EditPair) -> dict[str, str]:
    """What an edit pair says of a case of it."""
    return {
        "source_prompt": pair.source_caption,
        "target_prompt": pair.target_caption,
        "instruction": pair.instruction,
        "label": pair.source_label,
        "target_label": pair.target_label or "",
        "kind": pair.kind,
    }


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
    # Of a pair, what was asked counts, not in which words the method was told.
    asked = trace.get("asked")
    said = {
        "source_prompt": edit.get("source_prompt") or "",
        "target_prompt": edit["prompt"],
        "instruction": edit["instruction"],
        **(told_by(ClipEdit.model_validate(asked).pair) if asked else {}),
    }
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
        **said,
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
