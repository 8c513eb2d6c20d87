"""`dataset.json`, the index of a published dataset: what is not listed there is not published."""

import json
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from avipipe.errors import ManifestError
from avipipe.manifests.destination import Destination
from avipipe.manifests.shards import ShardEntry

INDEX_NAME = "dataset.json"
SCHEMA_VERSION = 1


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Entry):
    """A file beside the shards."""

    sha256: str
    num_bytes: int
    num_rows: int


class SplitEntry(_Entry):
    """Totals of a split."""

    num_shards: int
    num_samples: int
    num_bytes: int
    duration_s: float


class Generation(_Entry):
    """One publication. `versions`: of avipipe, ffmpeg and its libraries; bytes depend on them."""

    number: int
    config_hash: str
    versions: dict[str, str]


class DatasetIndex(_Entry):
    """The whole of `dataset.json`.

    Attributes:
        generation: of the last shards; 0 while there is none.
        generations: every one that added shards.
        manifests: name -> file, for `manifest/clips.parquet` and `manifest/sources.parquet`.
        retracted: samples that stand in a shard and should not be used any more: they were decided
            against later.
    """

    schema_version: Literal[1] = 1
    generation: int = 0
    config_hash: str
    versions: dict[str, str]
    generations: tuple[Generation, ...] = ()
    splits: dict[str, SplitEntry] = {}
    shards: tuple[ShardEntry, ...] = ()
    manifests: dict[str, FileEntry] = {}
    retracted: tuple[str, ...] = ()


def split_totals(names: Iterable[str], shards: Iterable[ShardEntry]) -> dict[str, SplitEntry]:
    """The totals of each split, those without a shard included."""
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


def read_index(destination: Destination) -> DatasetIndex | None:
    """The index of a dataset; None where nothing is published yet.

    Raises:
        ManifestError: it is damaged, or of a schema that is not known here.
    """
    if not destination.exists(INDEX_NAME):
        return None
    with destination.reading(INDEX_NAME) as file:
        text = file.read()
    try:
        return DatasetIndex.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ManifestError(
            f"{INDEX_NAME}: expected an index of schema version {SCHEMA_VERSION}, but {where}:"
            f" {first['msg']}; use the version of avipipe that wrote it, or restore the file"
        ) from error


def write_index(destination: Destination, index: DatasetIndex) -> None:
    """Publish the index, and with it everything that it lists."""
    text = json.dumps(index.model_dump(mode="json"), sort_keys=True, indent=1)
    destination.write(INDEX_NAME, f"{text}\n".encode())
