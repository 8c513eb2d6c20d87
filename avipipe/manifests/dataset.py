"""`dataset.json`, the index of a published dataset: what is not listed there is not published.

What it lists is never written over: names end in a part of the hash of what they name.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from avipipe.errors import ManifestError, RunError
from avipipe.manifests.destination import Destination
from avipipe.manifests.shards import HASH_DIGITS, ShardEntry
from avipipe.manifests.stores.base import Changed

INDEX_NAME = "dataset.json"
SCHEMA_VERSION = 1

_HASH = re.compile(rf"-[0-9a-f]{{{HASH_DIGITS}}}(?=\.)")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Entry):
    """Index entry of a file beside the shards."""

    sha256: str
    num_bytes: int
    num_rows: int


class SplitEntry(_Entry):
    """Index entry of a split: its totals."""

    num_shards: int
    num_samples: int
    num_bytes: int
    duration_s: float


class DatasetGeneration(_Entry):
    """A publication. `versions`: of avipipe, ffmpeg and its libraries; bytes depend on them."""

    number: int
    config_hash: str
    versions: dict[str, str]


class DatasetIndex(_Entry):
    """The index of a dataset: the whole of `dataset.json`.

    Attributes:
        generation: of the last shards; 0 while there is none.
        generations: every one that added shards.
        manifests: name -> file, such as `manifest/clips-{hash}.parquet`, of which
            `manifest/clips.parquet` is a copy; see `manifest`.
        retracted: samples that stand in a shard and should not be used any more: they were decided
            against later.
    """

    schema_version: Literal[1] = 1
    generation: int = 0
    config_hash: str
    versions: dict[str, str]
    generations: tuple[DatasetGeneration, ...] = ()
    splits: dict[str, SplitEntry] = {}
    shards: tuple[ShardEntry, ...] = ()
    manifests: dict[str, FileEntry] = {}
    retracted: tuple[str, ...] = ()

    def manifest(self, name: str) -> str | None:
        """The name of the file that is published as `name`, such as `manifest/clips.parquet`."""
        return next((found for found in self.manifests if plain_name(found) == name), None)

    def to_json(self) -> bytes:
        """The bytes of `dataset.json`."""
        return f"{json.dumps(self.model_dump(mode='json'), sort_keys=True, indent=1)}\n".encode()


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """An index as it stands in a store; `tag` tells whether it still does."""

    index: DatasetIndex
    data: bytes
    tag: str


def hashed_name(name: str, sha256: str) -> str:
    """Add a hash to a name: `manifest/clips.parquet` -> `manifest/clips-{hash}.parquet`."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}-{sha256[:HASH_DIGITS]}{dot}{suffix}"


def plain_name(name: str) -> str:
    """Take the hash out of a name that may have one."""
    return _HASH.sub("", name)


def split_totals(names: Iterable[str], shards: Iterable[ShardEntry]) -> dict[str, SplitEntry]:
    """Sum up the totals of each split, those without a shard included."""
    of_split: dict[str, list[ShardEntry]] = {name: [] for name in names}
    for shard in shards:
        of_split.setdefault(shard.split, []).append(shard)
    return {
        name: SplitEntry(
            num_shards=len(entries),
            num_samples=sum(entry.num_samples for entry in entries),
            num_bytes=sum(entry.num_bytes for entry in entries),
            duration_s=round(sum(entry.duration_s for entry in entries), 6),
        )
        for name, entries in of_split.items()
    }


def fetch_index(destination: Destination) -> StoredIndex | None:
    """Fetch the index of a dataset; None where there is definitely none.

    Raises:
        ManifestError: it is damaged, or of a schema that is not known here.
    """
    found = destination.store.read(INDEX_NAME)
    if found is None:
        return None
    try:
        return StoredIndex(DatasetIndex.model_validate_json(found.data), found.data, found.tag)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ManifestError(
            f"{INDEX_NAME}: expected an index of schema version {SCHEMA_VERSION}, but {where}:"
            f" {first['msg']}; use the version of avipipe that wrote it, or restore the file"
        ) from error


def read_index(destination: Destination) -> DatasetIndex | None:
    """Fetch the index as `fetch_index` does, for those who only read."""
    found = fetch_index(destination)
    return None if found is None else found.index


def swap_index(destination: Destination, index: DatasetIndex, old: StoredIndex | None) -> None:
    """Publish the index, and with it everything that it lists, in place of the one that was read.

    Raises:
        RunError: another one stands there now.
    """
    data = index.to_json()
    try:
        if old is None:
            destination.store.create(INDEX_NAME, data)
        elif old.data != data:
            destination.store.swap(INDEX_NAME, data, old.tag)
    except Changed as error:
        raise RunError(
            f"{destination.url}: {INDEX_NAME} is not the one that this build began with: another "
            "one has published there. Nothing was written over; run the same command again"
        ) from error
