"""The lock file: what each weight is, where it comes from, and under which terms."""

import os
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from avipipe.errors import WeightsError

LOCK_ENV = "AVIPIPE_WEIGHTS_LOCK"
"""A lock file of one's own (own models, mirrors); its entries win over those that come along."""


class WeightFile(BaseModel):
    """One file. `sha256` and `size_bytes` are None where they are first known at the first pull."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str | None = None
    size_bytes: int | None = None


class Weight(BaseModel):
    """One model.

    Attributes:
        url: of the file's folder, or the hub repository (`hf://owner/name`).
        files: relative to `url`. A hub model is a folder of them.
        revision: of a hub repository; None takes the one of the first pull and keeps to it.
        purpose: what it is needed for, as a phrase that follows "needed for".
        gated: whether its owner asks for an account and accepted terms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    url: str
    revision: str | None = None
    files: tuple[WeightFile, ...]
    licence: str
    purpose: str
    gated: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether a loader takes the folder, not a file, of this model."""
        return self.url.startswith("hf://")


def known() -> Mapping[str, Weight]:
    """Every weight by name: those that come with avipipe, then the user's own.

    Raises:
        WeightsError: the user's lock file cannot be read.
    """
    return _read(os.environ.get(LOCK_ENV))


@lru_cache(maxsize=8)
def _read(own: str | None) -> Mapping[str, Weight]:
    shipped = resources.files("avipipe.weights").joinpath("lock.yaml").read_text(encoding="utf-8")
    entries = _parse(shipped, "lock.yaml")
    if own:
        try:
            text = Path(own).read_text(encoding="utf-8")
        except OSError as error:
            raise WeightsError(f"{own}: cannot read this lock file: {error}") from error
        entries |= _parse(text, own)
    return entries


def _parse(text: str, where: str) -> dict[str, Weight]:
    try:
        data = yaml.safe_load(text) or {}
        return {name: Weight(name=name, **entry) for name, entry in data.items()}
    except (yaml.YAMLError, ValidationError, TypeError, AttributeError) as error:
        raise WeightsError(f"{where}: not a lock file of weights: {error}") from error
