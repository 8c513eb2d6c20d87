"""What people said of clips: the export of a review page, a JSON object a line."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from avipipe.errors import ConfigError, ManifestError

Verdict = Literal["keep", "drop", "wrong_mask", "unsure"]

_SHOWN = 3
"""Clips that a message names one by one."""


class ReviewLabel(BaseModel):
    """One person's verdict on one clip.

    Attributes:
        verdict: `keep` and `drop` as a decision; `wrong_mask`: the clip is good, its mask is not;
            `unsure`: it was looked at, and cannot be told.
        dataset: which one the page was written from.
        probability: that the clip is good, as it stood when the page was written; None: unknown.
        reviewer: who; None where nobody said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip_id: str = Field(min_length=1)
    verdict: Verdict
    dataset: str
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    reviewed_at: AwareDatetime
    reviewer: str | None = None


_Line = tuple[int, ReviewLabel]
"""A label and the number of its line, from 1."""


def read_labels(path: Path, known_clip_ids: Collection[str]) -> list[ReviewLabel]:
    """Read the labels of a file, one for each clip, in the order of the file.

    A clip may have any number of lines as long as all say the same; its first one counts. Exports
    of several people may stand in one file.

    Args:
        known_clip_ids: of the dataset that the labels are for.
    Raises:
        ConfigError: there is no such file, or it cannot be read.
        ManifestError: it is empty, cut short, holds what is no label, is about clips that are not
            in the dataset, or contradicts itself.
    """
    lines = list(_lines(path))
    if not lines:
        raise ManifestError(
            f"{path}: expected the labels of a review, found an empty file; judge clips on the "
            "page that `avipipe review` writes, and export them there"
        )
    _refuse_strangers(path, lines, known_clip_ids)
    of_clip: defaultdict[str, list[_Line]] = defaultdict(list)
    for line in lines:
        of_clip[line[1].clip_id].append(line)
    _refuse_contradictions(path, of_clip.values())
    return [found[0][1] for found in of_clip.values()]


def _lines(path: Path) -> Iterator[_Line]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror or error}; expected the export of a review "
            "page (`avipipe review`)"
        ) from error
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        if line.strip():
            yield number, _label(line, f"{path}:{number}", number)


def _label(line: bytes, where: str, number: int) -> ReviewLabel:
    try:
        return ReviewLabel.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        is_json = first["type"] != "json_invalid"
        if not is_json and not line.endswith(b"\n"):
            raise ManifestError(
                f"{where}: the export ends in the middle of line {number}; export again"
            ) from error
        if not is_json:
            raise ManifestError(
                f"{where}: this is not JSON ({first['msg']}); expected one label a line, as a "
                "review page exports them: export again"
            ) from error
        at = ".".join(map(str, first["loc"])) or "the line"
        raise ManifestError(
            f"{where}: this is not a label: {at}: {first['msg']}; expected clip_id, verdict (keep, "
            "drop, wrong_mask or unsure), dataset, probability and reviewed_at, as a review page "
            "exports them: export again, or mend this line"
        ) from error


def _refuse_strangers(path: Path, lines: Sequence[_Line], known: Collection[str]) -> None:
    names = dict.fromkeys(label.clip_id for _, label in lines)
    strangers = [name for name in names if name not in known]
    if strangers:
        raise ManifestError(
            f"{path}: {len(strangers)} of {len(names)} labelled clips are not in the dataset: "
            f"{_listed(strangers)}; expected labels from a review of this dataset"
        )


def _refuse_contradictions(path: Path, clips: Collection[Sequence[_Line]]) -> None:
    torn = [found for found in clips if len({label.verdict for _, label in found}) > 1]
    if not torn:
        return
    texts = [
        f"{found[0][1].clip_id} is "
        + ", ".join(f"{label.verdict} in line {number}" for number, label in found)
        for found in torn
    ]
    clips_said = "1 clip has" if len(torn) == 1 else f"{len(torn)} clips have"
    raise ManifestError(
        f"{path}: {clips_said} contradicting verdicts: {_listed(texts, '; ')}. Look again and "
        "leave one verdict for each, or delete all lines of a clip that cannot be settled"
    )


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    more = len(names) - _SHOWN
    return separator.join(names[:_SHOWN]) + (f"{separator}and {more} more" if more > 0 else "")
