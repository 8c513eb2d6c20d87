"""How files are read that people export from a page on clips: a JSON object a line."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from avipipe.errors import ConfigError, ManifestError

_SHOWN = 3
"""Clips that a message names one by one: enough to see what they have in common."""


class ExportWords(NamedTuple):
    """How messages speak of an export.

    Attributes:
        noun: of what a line holds.
        keys: that a line has.
        advice: what to do where there is no line.
    """

    noun: str
    keys: str
    advice: str


class ExportLine(BaseModel):
    """Something that one person says of a clip.

    Attributes:
        dataset: which one the page was written from.
        reviewer: who; None where nobody said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip_id: str = Field(min_length=1)
    dataset: str
    reviewed_at: AwareDatetime
    reviewer: str | None = None


_Line = TypeVar("_Line", bound=ExportLine)


def read_export(
    path: Path, kind: type[_Line], words: ExportWords, known_clip_ids: Collection[str]
) -> list[tuple[int, _Line]]:
    """Read the lines of a file, each with its number from 1.

    Args:
        known_clip_ids: of the dataset that it is for.
    Raises:
        ConfigError: there is no such file, or it cannot be read.
        ManifestError: it is empty, cut short, holds what is no such line, or is about clips that
            are not in the dataset.
    """
    lines = list(_lines(path, kind, words))
    if not lines:
        raise ManifestError(
            f"{path}: expected the {words.noun}s of a review, found an empty file; {words.advice}"
        )
    names = dict.fromkeys(line.clip_id for _, line in lines)
    strangers = [name for name in names if name not in known_clip_ids]
    if strangers:
        raise ManifestError(
            f"{path}: {len(strangers)} of {len(names)} clips with {words.noun}s are not in the "
            f"dataset: {listed(strangers)}; expected {words.noun}s from a review of this dataset"
        )
    return lines


def _lines(path: Path, kind: type[_Line], words: ExportWords) -> Iterator[tuple[int, _Line]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror or error}; expected the export of a review "
            "page (`avipipe review`)"
        ) from error
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        if line.strip():
            yield number, _line(line, f"{path}:{number}", number, kind, words)


def _line(line: bytes, where: str, number: int, kind: type[_Line], words: ExportWords) -> _Line:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        is_json = first["type"] != "json_invalid"
        if not is_json and not line.endswith(b"\n"):
            raise ManifestError(
                f"{where}: the export ends in the middle of line {number}; export again"
            ) from error
        if not is_json:
            raise ManifestError(
                f"{where}: this is not JSON ({first['msg']}); expected one {words.noun} a line, as "
                "a review page exports them: export again"
            ) from error
        at = ".".join(map(str, first["loc"])) or "the line"
        raise ManifestError(
            f"{where}: this is not a {words.noun}: {at}: {first['msg']}; expected {words.keys}, "
            "as a review page exports them: export again, or mend this line"
        ) from error


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """The first few of many, and how many more there are."""
    more = len(names) - _SHOWN
    return separator.join(names[:_SHOWN]) + (f"{separator}and {more} more" if more > 0 else "")
