"""The Parquet manifests: every clip ever considered, and every line of the list.

Rows are sorted and written in groups, so that memory stays flat and the same rows give the same
bytes with the same version of Arrow.
"""

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel

from avipipe.errors import ManifestError
from avipipe.manifests import evidence as evidence_models
from avipipe.manifests.dataset import DatasetIndex
from avipipe.manifests.destination import Destination
from avipipe.manifests.rle import canonical_json
from avipipe.manifests.samples import ClipRecord, SourceRecord
from avipipe.manifests.stores.base import HashedFile, read_digest

if TYPE_CHECKING:
    import pyarrow as pa

CLIPS_NAME = "manifest/clips.parquet"
SOURCES_NAME = "manifest/sources.parquet"
EDITS_NAME = "manifest/edits.parquet"

TABLE_NAMES = (CLIPS_NAME, SOURCES_NAME, EDITS_NAME)

Row = dict[str, Any]
"""One row of a manifest, by column."""

_GROUP_ROWS = 2000
"""Rows that are held and written at a time, which bounds the memory."""
_TIMES = {"start_s": float, "end_s": float}
_CLIP_COLUMNS: Mapping[str, Any] = {
    **dict.fromkeys(("clip_id", "source_id", "source_uri"), str),
    **_TIMES,
    **dict.fromkeys(("decision", "reason", "split", "shard", "licence", "channel"), str),
    "probability": float,
    **dict.fromkeys(("caption.text", "caption.label", "caption.backend"), str),
    **dict.fromkeys(("cut.num_frames", "cut.width", "cut.height"), int),
    **dict.fromkeys(("cut.duration_s", "cut.sync.av_offset_ms"), float),
    "fingerprint.video_phash": list[str],
    "fingerprint.audio_chromaprint": list[int],
}
_SOURCE_COLUMNS: Mapping[str, Any] = {
    **dict.fromkeys(("source_id", "source_uri"), str),
    **_TIMES,
    **dict.fromkeys(("status", "reason", "licence", "channel", "title"), str),
    "probe.container": str,
    "probe.duration_s": float,
    **dict.fromkeys(("probe.video.codec", "probe.audio.codec"), str),
    **dict.fromkeys(("probe.video.width", "probe.video.height"), int),
    **dict.fromkeys(("probe.audio.rate_hz", "probe.audio.channels"), int),
    "probe": str,
    "metadata": str,
}


@functools.cache
def clips_schema() -> "pa.Schema":
    """Columns of `clips.parquet`: scalars of the evidence as `stage.measure`, then all of it."""
    columns = dict(_CLIP_COLUMNS)
    for stage, model in _models().items():
        columns |= _scalars(stage, model)
    return schema_of({**columns, "evidence": str, "provenance": str})


def _scalars(prefix: str, model: type[BaseModel]) -> Row:
    """Column -> type of what has a simple one in a model, and in what it holds one of."""
    columns: Row = {}
    for name, field in model.model_fields.items():
        inner = [field.annotation, *get_args(field.annotation)]
        models = [arm for arm in inner if isinstance(arm, type) and issubclass(arm, BaseModel)]
        if models and get_origin(field.annotation) is not list:
            columns |= _scalars(f"{prefix}.{name}", models[0])
        elif _arrow_type(field.annotation) is not None:
            columns[f"{prefix}.{name}"] = field.annotation
    return columns


def _models() -> dict[str, type[BaseModel]]:
    """The evidence models by stage: `ListenEvidence` is that of `listen`."""
    return {
        name.removesuffix("Evidence").lower(): model
        for name, model in sorted(vars(evidence_models).items())
        if name.endswith("Evidence") and name != "_Evidence"
    }


@functools.cache
def sources_schema() -> "pa.Schema":
    """Columns of `sources.parquet`."""
    return schema_of(_SOURCE_COLUMNS)


def schema_of(columns: Mapping[str, Any]) -> "pa.Schema":
    """Columns by the annotations of what they hold, None or not."""
    import pyarrow as pa

    return pa.schema([(name, _arrow_type(kind)) for name, kind in columns.items()])


def _arrow_type(annotation: Any) -> Any:
    """The column type of a field, or None where its values have no simple one."""
    import pyarrow as pa

    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(arm for arm in get_args(annotation) if arm is not type(None))
    if hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    simple = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        str: pa.string(),
        bytes: pa.binary(),
    }
    if annotation in simple:
        return simple[annotation]
    if get_origin(annotation) is dict:
        return pa.map_(pa.string(), _arrow_type(get_args(annotation)[1]))
    if annotation in (list[str], list[int]):
        return pa.list_(simple[get_args(annotation)[0]])
    return None


def clip_row(record: ClipRecord, *, split: str, shard: str) -> Row:
    """Make the row of a clip; `split` and `shard` are empty where it is not published."""
    fixed: Row = {
        "clip_id": record.clip_id,
        "source_id": record.source.source_id,
        "source_uri": record.source.uri,
        "start_s": record.span.start_s,
        "end_s": record.span.end_s,
        "decision": record.decision,
        "reason": record.reason,
        "split": split,
        "shard": shard,
        "probability": record.probability,
        "licence": record.source.licence,
        "channel": record.source.channel,
        "evidence": _text(record.evidence),
        "provenance": _text(record.provenance),
    }
    measures = {
        name: _look_up(record.evidence, name) for name in clips_schema().names if "." in name
    }
    return {**fixed, **measures}


def source_row(record: SourceRecord) -> Row:
    """Make the row of a line of the list."""
    source, span = record.source, record.span
    fixed: Row = {
        "source_id": source.source_id,
        "source_uri": source.uri,
        "start_s": None if span is None else span.start_s,
        "end_s": None if span is None else span.end_s,
        "status": record.status,
        "reason": record.reason,
        "licence": source.licence,
        "channel": source.channel,
        "title": source.origin.get("title"),
        "probe": _text(record.probe),
        "metadata": _text(dict(source.metadata)),
    }
    measures = {
        name: _look_up({"probe": record.probe}, name)
        for name in sources_schema().names
        if "." in name
    }
    return {**fixed, **measures}


def write_rows(file: HashedFile, rows: Iterable[Row], schema: "pa.Schema") -> int:
    """Write a table from rows in their order; return how many there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    remaining, num_rows = iter(rows), 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(islice(remaining, _GROUP_ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema))
            num_rows += len(group)
    return num_rows


class PublishedTables:
    """The manifests that an index lists, as it lists them. A context manager, for they may have to
    be brought to this machine first."""

    def __init__(self, destination: Destination, index: DatasetIndex) -> None:
        self._destination = destination
        self._index = index
        self._stack = ExitStack()
        self._paths: dict[str, Path] = {}

    def rows(self, name: str, columns: list[str] | None = None) -> Iterator[Row]:
        """Yield the rows of a manifest, group by group; nothing where there is none.

        Args:
            name: as in `CLIPS_NAME`.
        Raises:
            ManifestError: it is missing, damaged, or not what the index lists.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        found = self._index.manifest(name)
        if found is None:
            return
        path = self._path(found)
        try:
            with path.open("rb") as file:
                table = pq.ParquetFile(file)
                for batch in table.iter_batches(_GROUP_ROWS, columns=columns):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ManifestError(
                f"{found}: expected a Parquet manifest, got {error}; restore it, or publish into a"
                " new folder"
            ) from error

    def _path(self, name: str) -> Path:
        if name not in self._paths:
            path = self._stack.enter_context(self._destination.local(name))
            with path.open("rb") as file:
                found = read_digest(file).sha256
            listed = self._index.manifests[name].sha256
            if found != listed:
                raise ManifestError(
                    f"{name}: its sha256 is {found}, dataset.json says {listed}: it was changed "
                    "since. Restore it (`avipipe verify --repair`), or publish into a new folder"
                )
            self._paths[name] = path
        return self._paths[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def _look_up(evidence: Mapping[str, Any], path: str) -> Any:
    value: Any = evidence
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return sorted(value.items()) if isinstance(value, Mapping) else value


def _text(value: Any) -> str:
    return canonical_json(value).decode().rstrip("\n")
