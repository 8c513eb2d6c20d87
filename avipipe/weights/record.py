"""`pulled.yaml`: what a pull brought, beside the files, so that it holds wherever they are copied.

Weights that the lock file does not pin are trusted when they are pulled; the commit and the sha256
of each file that came then are what they are held to later.
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from avipipe.errors import WeightsError
from avipipe.files import locked, write_whole
from avipipe.text import shown_url
from avipipe.weights.lock import Weight

NAME = "pulled.yaml"

logger = logging.getLogger(__name__)


class PulledFile(BaseModel):
    """One file as it came."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    size_bytes: int


class Pulled(BaseModel):
    """One model as it came: from where, without secrets, at which commit, and its files by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    revision: str | None = None
    files: Mapping[str, PulledFile]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())

    def speaks_of(self, weight: Weight) -> bool:
        """Whether this is of the entry in the lock file, not of one that had its name before."""
        return self.url == shown_url(weight.url) and weight.revision in (None, self.revision)


def read_record(folder: Path, weight: Weight) -> Pulled | None:
    """What was pulled into a folder under the name of a weight.

    Raises:
        WeightsError: the record cannot be understood.
    """
    pulled = _read(folder / NAME).get(weight.name)
    return pulled if pulled is not None and pulled.speaks_of(weight) else None


def write_record(folder: Path, weight: Weight, pulled: Pulled) -> None:
    """Note what was pulled; others may be writing at the same time."""
    path = folder / NAME
    with alone(folder, NAME):
        entries = {**_read(path), weight.name: pulled}
        data = {name: entry.model_dump(mode="json") for name, entry in sorted(entries.items())}
        write_whole(path, yaml.safe_dump(data, sort_keys=False).encode())


def alone(folder: Path, name: str) -> AbstractContextManager[None]:
    """One process at a time for what is named, in a folder; the others wait."""
    locks = folder / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return locked(locks / name)


def _read(path: Path) -> dict[str, Pulled]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return {name: Pulled(**entry) for name, entry in data.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path}: not a record of pulled weights: {error}\nDelete it, then pull them again"
        ) from error
