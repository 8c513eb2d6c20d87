"""publish: from everything that is known of the clips to a dataset, or to its next generation.

The order makes it safe to stop at any point, and to be seen at any: shards and manifests get names
that follow from their content, so nothing is written over, and `dataset.json` is replaced last, if
it is still the one that was read. What it does not list is not published. After it come the files
that follow from it: the card, and copies of the manifests under names that stay.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from avipipe.errors import RunError
from avipipe.manifests.card import CARD_NAME, CardFacts, ClipTally, DecisionFacts, render_card
from avipipe.manifests.copies import (
    keep_unhashed,
    refuse_changed_copies,
    refuse_lost_index,
    write_copies,
)
from avipipe.manifests.dataset import (
    DatasetGeneration,
    DatasetIndex,
    FileEntry,
    fetch_index,
    hashed_name,
    split_totals,
    swap_index,
)
from avipipe.manifests.destination import Destination
from avipipe.manifests.duplicates import SplitClip
from avipipe.manifests.edits import read_edits
from avipipe.manifests.lease import Lease
from avipipe.manifests.leftovers import MANIFESTS, remove_leftovers
from avipipe.manifests.records import DropReason
from avipipe.manifests.samples import (
    EDITS_MEMBER,
    ClipRecord,
    SourceRecord,
    sample_members,
    split_clip,
)
from avipipe.manifests.shards import ShardEntry, ShardLimits, ShardWriter
from avipipe.manifests.splits import assign_splits
from avipipe.manifests.tables import (
    CLIPS_NAME,
    EDITS_NAME,
    SOURCES_NAME,
    PublishedTables,
    Row,
    clip_row,
    clips_schema,
    edit_rows,
    edits_schema,
    source_row,
    sources_schema,
    write_rows,
)

_EDIT_SPLITS = ("test",)


class PublishConfig(BaseModel):
    """How samples are laid out, and which splits there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field("Sounding instances", description="Title of the dataset, for its card.")
    max_samples: int = Field(1000, ge=1, description="Samples in a shard, at most.")
    max_shard_bytes: int = Field(
        1_000_000_000, ge=1, description="Size of a shard, at most, but for one large sample."
    )
    splits: dict[str, float] = Field(
        default={"train": 0.9, "val": 0.05, "test": 0.05},
        description="Name of each split -> share of the groups of clips.",
    )
    split_seed: int = Field(0, ge=0, description="Another one draws the splits differently.")
    edit_splits: tuple[str, ...] = Field(
        _EDIT_SPLITS, description="Splits whose samples come with the edits of `stages.instruct`."
    )

    @model_validator(mode="after")
    def _check_splits(self) -> Self:
        shares = self.splits.values()
        if not math.isclose(sum(shares), 1.0, abs_tol=1e-6) or min(shares) < 0:
            raise ValueError("expected shares of the splits from 0 to 1 that add up to 1")
        if not all(re.fullmatch("[a-z]+", name) for name in self.splits):
            raise ValueError("expected names of splits in small letters, such as train")
        # The default may name one that there is not: such a dataset comes without edits.
        if strangers := sorted({*self.edit_splits} - {*self.splits, *_EDIT_SPLITS}):
            raise ValueError(
                f"expected edit_splits of {', '.join(self.splits)}, got {', '.join(strangers)}"
            )
        return self


@dataclass(frozen=True, slots=True)
class PublishFacts:
    """What a publication is made with.

    Attributes:
        config_hash: of the resolved configuration.
        versions: of avipipe, ffmpeg and its libraries.
        decision, backends, weights: for the card; see `CardFacts`.
    """

    config_hash: str
    versions: Mapping[str, str]
    decision: DecisionFacts
    backends: tuple[tuple[str, str], ...] = ()
    weights: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication made."""

    index: DatasetIndex
    num_new_clips: int


@dataclass(frozen=True, slots=True)
class _Shelved:
    """A clip that stands in a published shard."""

    split: str
    shard: str
    decision: str


def publish(
    out: str,
    clips: Mapping[str, ClipRecord],
    sources: Iterable[SourceRecord],
    *,
    config: PublishConfig,
    facts: PublishFacts,
    lease: Lease | None = None,
) -> Published:
    """Publish what is new, as a new generation, and write the manifests, card and index again.

    A clip that is published stays where it is. If it is decided against now, the index retracts
    it. A published clip or line that is not among `clips` or `sources` keeps its row.

    Args:
        out: local folder or fsspec URL.
        clips: every clip ever considered, by id, in any order. Each is looked up at most four
            times and not held, so the mapping may make them as it is asked.
        sources: every line of the list, in any order.
        lease: on `out`, that is held already; without one, it is taken for the while.
    Raises:
        ManifestError: what is published there already is damaged.
        RunError: somebody else is at work there, or the store cannot be reached.
    """
    # The lease has found out what its store can do; another would have to be asked again.
    destination = Destination(out) if lease is None else lease.destination
    with nullcontext(lease) if lease is not None else Lease(destination) as held:
        found = fetch_index(destination)
        if found is None:
            refuse_lost_index(destination)
        old = found.index if found is not None else DatasetIndex(config_hash="", versions={})
        refuse_changed_copies(destination, old)
        with PublishedTables(destination, old) as tables:
            shelved, relatives = _published_clips(tables, old)
            splits = _assign(clips, shelved, relatives, config)
            sweep = _Sweep(destination, old.generation + 1, clips, shelved, splits, config)
            sweep.write_shards()
            clips_file = sweep.write_clips(tables)
            edits_files = sweep.write_edits(tables)
            sources_file, num_lines = _write_sources(destination, sources, tables)
        keep_unhashed(destination, old)
        index = _next_index(
            old, facts, config, sweep, dict((clips_file, sources_file, *edits_files))
        )
        held.check()
        _make_sure_of(destination, sweep.shards, index.manifests)
        swap_index(destination, index, found)
        write_copies(destination, index)
        card = CardFacts(
            title=config.title,
            decision=facts.decision,
            backends=facts.backends,
            weights=facts.weights,
            split_fractions=config.splits,
            sources=num_lines,
        )
        destination.write(CARD_NAME, render_card(index, sweep.tally, card).encode())
        if found is not None:
            held.check()
            remove_leftovers(destination, old, index)
    return Published(index, sum(shard.num_samples for shard in sweep.shards))


def _published_clips(
    tables: PublishedTables, index: DatasetIndex
) -> tuple[dict[str, _Shelved], list[SplitClip]]:
    """The clips in published shards: where they are, and what ties them to others."""
    names = {shard.name: shard.name for shard in index.shards}
    shelved: dict[str, _Shelved] = {}
    relatives = []
    prints = ("fingerprint.video_phash", "fingerprint.audio_chromaprint")
    columns = ["clip_id", "source_id", "channel", "split", "shard", "decision", *prints]
    for row in tables.rows(CLIPS_NAME, columns) if names else ():
        if row["shard"] not in names:
            continue
        shelved[row["clip_id"]] = _Shelved(row["split"], names[row["shard"]], row["decision"])
        fingerprint = {name.partition(".")[2]: row[name] for name in prints}
        relatives.append(split_clip(row["clip_id"], row["source_id"], row["channel"], fingerprint))
    return shelved, relatives


def _assign(
    clips: Mapping[str, ClipRecord],
    shelved: Mapping[str, _Shelved],
    relatives: list[SplitClip],
    config: PublishConfig,
) -> dict[str, str | None]:
    """The split of each clip that is published or is to be; None for a bridge."""
    candidates = (clips[name] for name in sorted(clips) if name not in shelved)
    new = [record.split_clip() for record in candidates if record.decision == "keep"]
    return assign_splits(
        [*relatives, *new],
        fractions=config.splits,
        seed=config.split_seed,
        published={name: place.split for name, place in shelved.items()},
    )


class _Sweep:
    """Goes through all clips in the order of their ids: for the shards, then for the rows of
    clips and of edits, which name them."""

    def __init__(
        self,
        destination: Destination,
        generation: int,
        clips: Mapping[str, ClipRecord],
        shelved: Mapping[str, _Shelved],
        splits: Mapping[str, str | None],
        config: PublishConfig,
    ) -> None:
        self._destination = destination
        self._clips = clips
        self._names = sorted(clips)
        self._known = frozenset(self._names)
        self._shelved = shelved
        self._splits = splits
        limits = ShardLimits(config.max_samples, config.max_shard_bytes)
        self._writers = {
            split: ShardWriter(destination, split, generation, limits)
            for split in sorted(set(filter(None, splits.values())))
        }
        self._edit_splits = frozenset(config.edit_splits)
        self._places: dict[str, tuple[str, int]] = {}
        self.tally = ClipTally()
        self.retracted: list[str] = []

    @property
    def shards(self) -> list[ShardEntry]:
        """The new shards, sorted by name."""
        entries = [entry for writer in self._writers.values() for entry in writer.entries]
        return sorted(entries, key=lambda entry: entry.name)

    def write_shards(self) -> None:
        """Write what is kept and in no shard yet."""
        with ExitStack() as stack:
            for writer in self._writers.values():
                stack.enter_context(writer)
            for name in self._names:
                split = self._splits.get(name)
                if split is not None and name not in self._shelved:
                    self._places[name] = split, self._add(name, split)

    def _add(self, name: str, split: str) -> int:
        record = self._clips[name]
        return self._writers[split].add(
            name,
            sample_members(record, split, has_edits=self._has_edits(record, split)),
            duration_s=record.evidence["cut"]["duration_s"],
        )

    def _has_edits(self, record: ClipRecord, split: str) -> bool:
        return split in self._edit_splits and record.num_edits > 0

    def write_clips(self, tables: PublishedTables) -> tuple[str, FileEntry]:
        """Write `clips.parquet`; return its name in the index, and its entry."""
        rows = self._counted(self._rows(tables))
        return _write_table(self._destination, CLIPS_NAME, rows, clips_schema())

    def write_edits(self, tables: PublishedTables) -> list[tuple[str, FileEntry]]:
        """Write `edits.parquet`, as `write_clips` does; nothing where no sample has edits."""
        old = (row for row in tables.rows(EDITS_NAME) if row["clip_id"] in self._shelved)
        rows = merge(old, self._new_edits(), key=itemgetter("clip_id"))
        first = list(islice(rows, 1))
        if not first:
            return []
        return [_write_table(self._destination, EDITS_NAME, chain(first, rows), edits_schema())]

    def _new_edits(self) -> Iterator[Row]:
        for name in self._names:
            split, number = self._places.get(name, ("", 0))
            if split in self._edit_splits and self._has_edits(record := self._clips[name], split):
                shard = self._writers[split].entries[number].name
                edits = read_edits(record.files[EDITS_MEMBER].read_bytes())
                yield from edit_rows(name, edits, split=split, shard=shard)

    def _rows(self, tables: PublishedTables) -> Iterator[Row]:
        """Published rows that still hold, and those of all other clips of this run."""
        holding = {name for name in self._shelved if self._holds(name)}
        new = (self._row(self._clips[name]) for name in self._names if name not in holding)
        old = (
            row
            for row in tables.rows(CLIPS_NAME)
            if row["clip_id"] in holding or (row["clip_id"] not in self._clips and not row["shard"])
        )
        return merge(new, old, key=itemgetter("clip_id"))

    def _holds(self, name: str) -> bool:
        """Whether the row of a clip in a published shard, which describes that, is still right."""
        if name not in self._known:
            return True
        return self._shelved[name].decision == self._clips[name].decision == "keep"

    def _row(self, record: ClipRecord) -> Row:
        place = self._shelved.get(record.clip_id)
        if place is not None:
            return clip_row(record, split=place.split, shard=place.shard)
        if record.decision != "keep":
            return clip_row(record, split="", shard="")
        if record.clip_id not in self._places:
            row = clip_row(record, split="", shard="")
            return {**row, "decision": "drop", "reason": DropReason.SPLIT_BRIDGE.value}
        split, number = self._places[record.clip_id]
        return clip_row(record, split=split, shard=self._writers[split].entries[number].name)

    def _counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self.tally.add(row)
            if row["shard"] and row["decision"] != "keep":
                self.retracted.append(row["clip_id"])
            yield row


def _write_sources(
    destination: Destination, sources: Iterable[SourceRecord], tables: PublishedTables
) -> tuple[tuple[str, FileEntry], Counter[str]]:
    """Write `sources.parquet`; also give the number of lines by status."""
    rows = {_line(row): row for row in tables.rows(SOURCES_NAME)}
    rows |= {_line(row): row for row in map(source_row, sources)}
    ordered = [rows[line] for line in sorted(rows)]
    file = _write_table(destination, SOURCES_NAME, ordered, sources_schema())
    return file, Counter(row["status"] for row in ordered)


def _write_table(
    destination: Destination, name: str, rows: Iterable[Row], schema: Any
) -> tuple[str, FileEntry]:
    with destination.draft(MANIFESTS) as draft:
        num_rows = write_rows(draft, rows, schema)
        found = hashed_name(name, draft.written.sha256)
        written = destination.place(draft, found)
    entry = FileEntry(sha256=written.sha256, num_bytes=written.num_bytes, num_rows=num_rows)
    return found, entry


def _line(row: Row) -> tuple[str, float, float]:
    """What tells lines of the list apart."""
    start_s, end_s = row["start_s"], row["end_s"]
    return row["source_uri"], -1.0 if start_s is None else start_s, end_s or -1.0


def _next_index(
    old: DatasetIndex,
    facts: PublishFacts,
    config: PublishConfig,
    sweep: _Sweep,
    manifests: dict[str, FileEntry],
) -> DatasetIndex:
    new_shards = sweep.shards
    versions = dict(facts.versions)
    generation = old.generation + 1 if new_shards else old.generation
    this = DatasetGeneration(number=generation, config_hash=facts.config_hash, versions=versions)
    shards = (*old.shards, *new_shards)
    return DatasetIndex(
        generation=generation,
        config_hash=facts.config_hash,
        versions=versions,
        generations=(*old.generations, this) if new_shards else old.generations,
        splits=split_totals(config.splits, shards),
        shards=shards,
        manifests=manifests,
        retracted=tuple(sweep.retracted),
    )


def _make_sure_of(
    destination: Destination, shards: Iterable[ShardEntry], manifests: Mapping[str, FileEntry]
) -> None:
    """What the index is about to list must be there, whole.

    Raises:
        RunError: it is not: the lease was lost, and somebody else has cleared up.
    """
    files: dict[str, ShardEntry | FileEntry] = {shard.name: shard for shard in shards}
    for name, entry in {**files, **manifests}.items():
        found = destination.store.stat(name)
        if found is None or found.num_bytes != entry.num_bytes:
            raise RunError(
                f"{destination.url}: {name} was written and is not there any more; nothing was "
                "published. Run the same command again"
            )
