"""What raters answered: the exports of a study's page, a JSON object a line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from avipipe.errors import ConfigError
from avipipe.evaluate.study.key import StudyKey

SAME = "same"
"""The answer that prefers neither film."""


class StudyAnswer(BaseModel):
    """One rater's answers to the questions of one trial.

    Attributes:
        left, right: films, as this rater saw them.
        answers: question -> the preferred film, or `same`.
        seconds: from the films to the last answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    rater: str = Field(min_length=1)
    trial: str
    left: str
    right: str
    answers: dict[str, str]
    seconds: float = Field(ge=0, allow_inf_nan=False)
    answered_at: AwareDatetime


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that does not count: where it stands, and why."""

    where: str
    reason: str


def read_answers(
    paths: Sequence[Path], key: StudyKey
) -> tuple[list[StudyAnswer], list[RefusedLine]]:
    """The answers of files, one for each rater and trial, and the lines that do not count.

    Of several answers of a rater to a trial the latest counts: people export more than once.

    Raises:
        ConfigError: a file cannot be read.
    """
    latest: dict[tuple[str, str], tuple[str, StudyAnswer]] = {}
    refused: list[RefusedLine] = []
    for where, line in _lines(paths):
        found = _answer(line, key)
        if isinstance(found, str):
            refused.append(RefusedLine(where, found))
            continue
        place = (found.rater, found.trial)
        earlier = latest.get(place)
        if earlier is None:
            latest[place] = (where, found)
            continue
        older, newer = sorted([earlier, (where, found)], key=lambda each: each[1].answered_at)
        is_repeated = older[1] == newer[1]
        reason = "said twice" if is_repeated else "answered anew later"
        refused.append(RefusedLine(older[0], reason))
        latest[place] = newer
    return [latest[place][1] for place in sorted(latest)], refused


def _lines(paths: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read: {error.strerror or error}; expected what the page of a "
                "study exports (`avipipe eval study`)"
            ) from error
        for number, line in enumerate(data.splitlines(), start=1):
            if line.strip():
                yield f"{path}:{number}", line


def _answer(line: bytes, key: StudyKey) -> StudyAnswer | str:
    """What a line says, or why it does not count."""
    try:
        found = StudyAnswer.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return "not JSON, or cut short"
        return f"no answer: {'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"
    if found.study != key.study:
        return "of another study"
    trial = key.trials.get(found.trial)
    films = {found.left, found.right}
    if trial is None or films != {trial.left, trial.right}:
        return "of a comparison that this study has not"
    if set(found.answers) != set(key.questions) or not {*found.answers.values()} <= {*films, SAME}:
        return "not one answer to each question"
    return found
