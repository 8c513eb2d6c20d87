"""Who is who in a study: the file beside its page, which no rater sees."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.study.plan import Subject
from avipipe.manifests.records import digest

_ID_CHARS = 16
"""Digits of a hash that tells studies apart: 64 bits."""


class KeyTrial(BaseModel):
    """A comparison: its case, the films of source and sides, and whether its answer is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    group: str
    source: str
    left: str
    right: str
    is_check: bool


class StudyKey(BaseModel):
    """What the page of a study leaves out.

    Attributes:
        study: digest of all the rest, which answers name.
        content: digest of what people see: films and words.
        seed: of the draw.
        questions: that were asked.
        films: name on the page -> who made it.
        trials: by their names on the page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str = Field(min_length=1)
    content: str
    subject: Subject
    seed: int
    questions: tuple[str, ...]
    films: dict[str, str]
    trials: dict[str, KeyTrial]


def signed(key: StudyKey) -> StudyKey:
    """A key that is named by what it holds."""
    return key.model_copy(update={"study": digest(key.model_dump(exclude={"study"}))[:_ID_CHARS]})


def key_path(page: Path) -> Path:
    """Where the key of a page lies: beside it."""
    return page.with_suffix(".key.json")


def read_key(path: Path) -> StudyKey:
    """Read what `avipipe eval study` wrote beside its page.

    Raises:
        ConfigError: there is no such file.
        ManifestError: it is no key of a study, or was changed.
    """
    try:
        key = StudyKey.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"--key {path}: cannot be read: {error.strerror or error}; expected the file that "
            "`avipipe eval study` wrote beside its page"
        ) from error
    except ValidationError as error:
        raise ManifestError(
            f"--key {path}: this is not the key of a study: {error.errors()[0]['msg']}; take the "
            ".key.json that `avipipe eval study` wrote beside its page"
        ) from error
    if key != signed(key):
        raise ManifestError(
            f"--key {path}: it was changed since it was written, and no longer says who is who; "
            "take the original"
        )
    return key
