"""The lock file: what each weight is, where it comes from, and under which terms."""

import os
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from avipipe.errors import WeightsError
from avipipe.text import shown_url

LOCK_ENV = "AVIPIPE_WEIGHTS_LOCK"
"""A lock file of one's own (own models, mirrors); its entries win over those that come along."""

HUB = "hf://"


class Pickle(BaseModel):
    """A pickled checkpoint at a weight's URL: only its tensors are taken, and only by its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    size_bytes: int | None = None


class WeightFile(BaseModel):
    """One file, or, in a hub model, a pattern such as `model*.safetensors`.

    Attributes:
        name: of the file where it lies here; in a hub model relative to the repository.
        source: its name at the URL, where that is another one.
        sha256, size_bytes: None where they are first known at the first pull.
        other_sha256: of other builds of the same model that serve as well, if they lie here.
        tensors_of: what is downloaded instead, to be converted to this file (safetensors).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    other_sha256: tuple[str, ...] = ()
    tensors_of: Pickle | None = None

    @property
    def is_pattern(self) -> bool:
        return any(sign in self.name for sign in "*?[")


class Weight(BaseModel):
    """One model: a file, or a hub repository, of which it takes a folder of files.

    Attributes:
        url: of the file's folder, or the hub repository (`hf://owner/name`).
        files: what must be there; each pattern matches at least one file.
        extras: patterns of a hub model's files that are taken along where there are any.
        revision: of a hub repository; None takes the one of the first pull and keeps to it.
        purpose: what it is needed for, as a phrase that follows "needed for".
        gated: whether its owner asks for an account and accepted terms.
        homepage: where people read about it, if that is not its hub repository.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    url: str
    revision: str | None = None
    files: tuple[WeightFile, ...]
    extras: tuple[str, ...] = ()
    licence: str
    purpose: str
    gated: bool = False
    homepage: str | None = None

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        if not self.files:
            raise ValueError("expected at least one file")
        single = len(self.files) == 1 and not self.files[0].is_pattern and not self.extras
        if not self.is_folder and not single:
            raise ValueError("expected one file, as the URL is not of a hub repository (hf://)")
        if self.is_folder and any(file.tensors_of for file in self.files):
            raise ValueError("expected no `tensors_of` in a hub repository")
        return self

    @property
    def is_folder(self) -> bool:
        """Whether a loader takes the folder, not a file, of this model."""
        return self.url.startswith(HUB)

    @property
    def repository(self) -> str:
        """`owner/name` of a hub model."""
        return self.url.removeprefix(HUB)

    @property
    def page(self) -> str:
        """Where people read about it, and accept its terms where it is gated."""
        if self.homepage is not None:
            return self.homepage
        if self.is_folder:
            return f"https://huggingface.co/{self.repository}"
        return shown_url(self.url)

    @property
    def size_bytes(self) -> int | None:
        """Bytes of all files; None where that is not known before they are pulled."""
        sizes = [file.size_bytes for file in self.files]
        return sum(size for size in sizes if size) if None not in sizes else None

    @property
    def download_bytes(self) -> int | None:
        """What a pull transfers, where that is known."""
        upstream = self.files[0].tensors_of
        return upstream.size_bytes if upstream is not None else self.size_bytes

    @property
    def pinned(self) -> Mapping[str, str] | None:
        """File -> sha256, where the lock file alone says what every file must be."""
        hashes = {file.name: file.sha256 for file in self.files if file.sha256}
        whole = len(hashes) == len(self.files) and not self.extras
        return hashes if whole and not any(file.is_pattern for file in self.files) else None

    @property
    def has_builds(self) -> bool:
        """Whether a file may be one of several."""
        return any(file.other_sha256 for file in self.files)


def known() -> Mapping[str, Weight]:
    """Every weight by name: those that come with avipipe, then the user's own.

    Raises:
        WeightsError: the user's lock file cannot be read.
    """
    return _read(os.environ.get(LOCK_ENV))


def entry(name: str) -> Weight:
    """The entry of one weight.

    Raises:
        WeightsError: there is none of this name.
    """
    try:
        return known()[name]
    except KeyError:
        raise WeightsError(f"there is no weight `{name}`; see: avipipe weights list") from None


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
