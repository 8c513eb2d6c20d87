import gc
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from pycocotools import mask as coco

from avipipe.errors import ManifestError
from avipipe.manifests.dataset import DatasetIndex, plain_name, read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.leftovers import GRACE_S
from avipipe.manifests.samples import ClipRecord
from avipipe.manifests.shards import MEMBERS, read_shard
from avipipe.manifests.splits import check_splits
from avipipe.manifests.tables import CLIPS_NAME, PublishedTables
from avipipe.stages.publish import PublishConfig
from tests.publishing import SIZE, by_id, publish_all, record, tree

CONFIG = PublishConfig(max_samples=3, splits={"train": 0.5, "val": 0.3, "test": 0.2})


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, ClipRecord]:
    """Twenty kept clips of ten sources, a dropped and a failed one."""
    folder = tmp_path / "media"
    kept = [record(folder, n, start_s=s) for n in range(10) for s in (0.0, 2.0)]
    dropped = record(folder, 20, decision="drop", reason="silent")
    failed = record(folder, 21, decision="fail", reason="tool_failed")
    return by_id([*kept, dropped, failed])


def index_of(out: Path | str) -> DatasetIndex:
    index = read_index(Destination(str(out)))
    assert index is not None
    return index


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(out / "manifest/clips.parquet").to_pylist()
    assert [row["clip_id"] for row in rows] == sorted(row["clip_id"] for row in rows)
    return {row["clip_id"]: row for row in rows}


def keys_of(out: Path, name: str) -> list[str]:
    with (out / name).open("rb") as file:
        return [key for key, _ in read_shard(file, name)]


def check_dataset(out: Path) -> DatasetIndex:
    """What holds for a dataset at any time: the index is true."""
    index, destination = index_of(out), Destination(str(out))
    for shard in index.shards:
        with destination.reading(shard.name) as file:
            assert sum(1 for _ in read_shard(file, shard.name)) == shard.num_samples
        assert (out / shard.name).stat().st_size == shard.num_bytes
    return index


# webdataset leaves its files to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_plain_reader_gets_the_samples(tmp_path: Path, clips: dict[str, ClipRecord]) -> None:
    out = tmp_path / "out"
    publish_all(out, clips, CONFIG)
    shards = sorted(str(path) for path in out.glob("shards/*.tar"))
    samples = {s["__key__"]: s for s in webdataset.WebDataset(shards, shardshuffle=False)}
    gc.collect()
    kept = {name: clip for name, clip in clips.items() if clip.decision == "keep"}
    assert set(samples) == set(kept)
    for name, found in samples.items():
        assert {key for key in found if not key.startswith("__")} == set(MEMBERS)
        assert found["mp4"] == kept[name].files["mp4"].read_bytes()
        assert found["flac"] == kept[name].files["flac"].read_bytes()
        masks, facts = json.loads(found["masks.json"]), json.loads(found["json"])
        assert (masks["size"], masks["fps"]) == (list(SIZE), 24)
        counts = {"size": masks["size"], "counts": masks["frames"][0].encode()}
        assert coco.area(counts) == 15 * 20
        assert facts["boxes"] == [[10, 5, 30, 20], [0, 0, 0, 0]]
        assert facts["caption"] == {"text": "A thing knocks.", "backend": "template@1"}
        assert (facts["label"], facts["fps"]) == ("thing", 24)
        assert facts["span"] == {"start_s": kept[name].span.start_s, "end_s": kept[name].span.end_s}
        assert "-".join([facts["split"], "0001"]) in found["__url__"]
        assert "mtime_ns" not in found["json"].decode()


def test_manifest_has_every_clip_with_its_evidence(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    index = publish_all(out, clips, CONFIG).index
    rows = rows_of(out)
    assert set(rows) == set(clips)
    for name, row in rows.items():
        assert (row["decision"], row["reason"]) == (clips[name].decision, clips[name].reason)
        assert json.loads(row["evidence"]) == clips[name].evidence
        assert row["listen.rms_dbfs"] == -20.5
        assert dict(row["listen.tags"]) == {"speech": 0.8}
        if row["decision"] == "keep":
            assert row["shard"].startswith(f"shards/{row['split']}-0001-")
            assert name in keys_of(out, row["shard"])
        else:
            assert (row["split"], row["shard"]) == ("", "")
    assert sum(split.num_samples for split in index.splits.values()) == 20
    sources = pq.read_table(out / "manifest/sources.parquet").to_pylist()
    assert [row["source_uri"] for row in sources] == sorted(
        {clip.source.uri for clip in clips.values()}
    )
    assert sources[0]["probe.video.codec"] == "h264"
    published = [clip.split_clip() for clip in clips.values() if clip.decision == "keep"]
    assert check_splits(published, {name: row["split"] for name, row in rows.items()}) == []


def test_bytes_do_not_depend_on_the_order(tmp_path: Path, clips: dict[str, ClipRecord]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    publish_all(one, clips, CONFIG)
    publish_all(two, dict(reversed(clips.items())), CONFIG)
    assert tree(one) == tree(two)
    publish_all(one, clips, CONFIG)
    assert tree(one) == tree(two)


def test_a_remote_dataset_has_the_same_bytes(tmp_path: Path, clips: dict[str, ClipRecord]) -> None:
    local, remote = tmp_path / "local", "memory://publish-test/set"
    for out in (local, remote):
        publish_all(out, dict(list(clips.items())[:8]), CONFIG)
        publish_all(out, clips, CONFIG)
    destination = Destination(remote)
    for name, data in tree(local).items():
        with destination.reading(name) as file:
            assert file.read() == data


def test_a_later_run_adds_a_generation_and_rewrites_nothing(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    first = publish_all(out, dict(list(clips.items())[:9]), CONFIG)
    before = tree(out)
    second = publish_all(out, clips, CONFIG)
    after = tree(out)
    assert (first.index.generation, second.index.generation) == (1, 2)
    assert (first.num_new_clips, second.num_new_clips) == (9, 11)
    for shard in first.index.shards:
        assert after[shard.name] == before[shard.name]
    assert {shard.generation for shard in second.index.shards} == {1, 2}
    keys = [key for shard in second.index.shards for key in keys_of(out, shard.name)]
    assert len(keys) == len(set(keys)) == 20
    rows = rows_of(out)
    assert (
        check_splits(
            [clip.split_clip() for clip in clips.values() if clip.decision == "keep"],
            {name: row["split"] for name, row in rows.items()},
        )
        == []
    )


def test_the_published_survive_without_their_work(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    publish_all(out, clips, CONFIG)
    before = rows_of(out)
    # A near-duplicate of a published clip whose evidence only the manifest still has.
    looks = record(tmp_path / "media", 30, look=1)
    publish_all(out, by_id([looks]), CONFIG)
    copy = record(tmp_path / "media", 31, look=1)
    publish_all(out, by_id([copy]), CONFIG)
    rows = rows_of(out)
    assert {name: rows[name] for name in before} == before
    assert rows[copy.clip_id]["split"] == rows[looks.clip_id]["split"]
    assert index_of(out).generation == 3


def test_a_bridge_is_dropped(tmp_path: Path) -> None:
    folder, out = tmp_path / "media", tmp_path / "out"
    old = by_id(record(folder, n, look=n, channel=f"c{n}") for n in range(12))
    publish_all(out, old, CONFIG)
    splits = {name: row["split"] for name, row in rows_of(out).items()}
    a = next(clip for name, clip in old.items() if splits[name] == "train")
    b = next(clip for name, clip in old.items() if splits[name] == "val")
    number = int(b.source.source_id.rpartition("-")[2])
    bridge = record(folder, 40, look=number, channel=a.source.channel)
    index = publish_all(out, {**old, **by_id([bridge])}, CONFIG).index
    row = rows_of(out)[bridge.clip_id]
    assert (row["decision"], row["reason"], row["shard"]) == ("drop", "split_bridge", "")
    assert index.generation == 1


def test_what_is_decided_against_later_is_retracted(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    first = publish_all(out, clips, CONFIG)
    name = next(iter(clips))
    against = replace(clips[name], decision="drop", reason="several_speakers", files={})
    second = publish_all(out, {**clips, name: against}, CONFIG)
    assert second.index.retracted == (name,)
    assert second.index.shards == first.index.shards
    row = rows_of(out)[name]
    assert (row["decision"], row["reason"]) == ("drop", "several_speakers")
    assert name in keys_of(out, row["shard"])
    # It is remembered without the work, and taken back when it is kept again.
    others = {other: clip for other, clip in clips.items() if other != name}
    assert publish_all(out, others, CONFIG).index.retracted == (name,)
    assert publish_all(out, clips, CONFIG).index.retracted == ()


class Killed(BaseException):
    """Not an Exception, as a signal is not."""


def dying_at(number: int, *, after: bool) -> Callable[[Path, Path], Path]:
    """`Path.replace` that ends the process before or after the rename with this number."""
    real, count = Path.replace, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == number and not after:
            raise Killed
        renamed = real(self, target)
        if count == number:
            raise Killed
        return renamed

    return dying


@pytest.mark.parametrize("after", [False, True])
def test_a_publication_may_die_at_any_step(
    tmp_path: Path, clips: dict[str, ClipRecord], after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = dict(list(clips.items())[:9])
    # What was begun need not be what is finished: more clips may come in between.
    begun = clips if after else dict(list(clips.items())[:14])
    expected = tmp_path / "expected"
    publish_all(expected, some, CONFIG)
    old = tree(expected)
    publish_all(expected, clips, CONFIG)
    for step in range(1, 100):
        out = tmp_path / f"out-{after}-{step}"
        publish_all(out, some, CONFIG)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying_at(step, after=after))
            try:
                publish_all(out, begun, CONFIG)
            except Killed:
                finished = False
            else:
                finished = True
        if finished:
            break
        index = check_dataset(out)
        if index.generation == 1:
            assert tree(out)["dataset.json"] == old["dataset.json"]
            left = {f"shards/{path.name}" for path in out.glob("shards/*")}
            left -= {shard.name for shard in index.shards}
            left |= {str(path.relative_to(out)) for path in out.glob("manifest/*-*.parquet")}
            publish_all(out, clips, CONFIG)
            made, right = tree(out), tree(expected)
            # What was stopped is seen by nobody, and stays until no writer can be at it any more.
            assert {name: made[name] for name in right} == right
            assert set(made) - set(right) <= left
    assert step > 5


def test_a_dataset_with_nothing_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    drop = record(tmp_path / "media", 1, decision="drop", reason="silent")
    index = publish_all(out, by_id([drop])).index
    assert (index.generation, index.shards) == (0, ())
    assert index.splits["train"].num_samples == 0
    publish_all(out, {})
    assert set(rows_of(out)) == {drop.clip_id}


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 99}'])
def test_a_damaged_index_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(ManifestError, match=r"dataset\.json: expected an index"):
        publish_all(tmp_path, {})


def test_a_damaged_manifest_is_refused(tmp_path: Path, clips: dict[str, ClipRecord]) -> None:
    publish_all(tmp_path / "out", clips)
    (tmp_path / "out" / str(index_of(tmp_path / "out").manifest(CLIPS_NAME))).write_bytes(b"PAR1")
    with pytest.raises(ManifestError, match=r"clips-\w+\.parquet: its sha256 is"):
        publish_all(tmp_path / "out", clips)


@pytest.mark.parametrize(
    "splits", [{"train": 0.9}, {"train": 1.5, "val": -0.5}, {"train-a": 1.0}, {}]
)
def test_impossible_splits_are_refused(splits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        PublishConfig(splits=splits)


def test_card_is_true(tmp_path: Path, clips: dict[str, ClipRecord]) -> None:
    index = publish_all(tmp_path / "out", clips, CONFIG).index
    card = (tmp_path / "out/README.md").read_text()
    assert card.startswith("---\n")
    assert f'WebDataset("{index.shards[0].name}"' in card
    assert "| drop | silent | 1 |" in card
    assert "| thing | 20 | 0.01 |" in card
    assert "Expected precision: 0.80, the mean probability of the 20 kept clips" in card
    assert "| max_speakers | 1 |" in card
    total = sum(split.num_samples for split in index.splits.values())
    assert f"\n{total} clips, " in card
    assert np.isclose(sum(split.duration_s for split in index.splits.values()), 2.0 * total)


def test_every_judged_clip_has_its_probability(tmp_path: Path) -> None:
    """That of the last decision about it."""
    kept = record(tmp_path, 1, probability=0.75)
    dropped = record(tmp_path, 2, decision="drop", reason="silent")
    failed = record(tmp_path, 3, decision="fail", reason="timeout")
    failed = replace(failed, evidence={"listen": failed.evidence["listen"]})
    index = publish_all(tmp_path / "out", by_id([kept, dropped, failed]), CONFIG).index
    found = {name: row["probability"] for name, row in rows_of(tmp_path / "out").items()}
    assert found == {kept.clip_id: 0.75, dropped.clip_id: 0.25, failed.clip_id: None}
    (shard,) = index.shards
    with (tmp_path / "out" / shard.name).open("rb") as file:
        ((_, sample),) = read_shard(file, shard.name)
    assert json.loads(sample["json"])["probability"] == 0.75


def test_what_a_killed_process_left_is_removed_after_a_day(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    publish_all(out, clips, CONFIG)
    before = tree(out)
    hexes = "0123456789abcdef"
    left = [
        "shards/train-0002-00000.tar",
        f"shards/train-0002-00000-{hexes}.tar",
        "shards/val-0002-00001.tar.partial",
        f"shards/{hexes * 2}.partial",
        f"manifest/clips-{hexes}.parquet",
        "manifest/clips.parquet.partial",
        f"config.yaml.{hexes[:12]}.partial",
        f".config.yaml.{hexes[:12]}.partial",
    ]
    for name in left:
        (out / name).write_bytes(b"half a file")
    (out / "shards/notes.txt").write_text("somebody's own")
    os.utime(out / "shards/notes.txt", (0, 0))
    publish_all(out, clips, CONFIG)
    assert set(tree(out)) == {*before, *left, "shards/notes.txt"}, "a writer may still be at them"
    for name in left:
        day_ago_s = time.time() - GRACE_S - 60
        os.utime(out / name, (day_ago_s, day_ago_s))
    publish_all(out, clips, CONFIG)
    assert tree(out) == {**before, "shards/notes.txt": b"somebody's own"}


def test_what_is_listed_stays_however_old(tmp_path: Path, clips: dict[str, ClipRecord]) -> None:
    out = tmp_path / "out"
    publish_all(out, dict(list(clips.items())[:9]), CONFIG)
    publish_all(out, clips, CONFIG)
    names = [path for path in out.rglob("*") if path.is_file()]
    for path in names:
        os.utime(path, (0, 0))
    listed = [shard.name for shard in index_of(out).shards] + list(index_of(out).manifests)
    publish_all(out, clips, CONFIG)
    assert all((out / name).is_file() for name in listed)


def test_a_publication_without_news_changes_nothing(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    publish_all(out, clips, CONFIG)
    before = {path: path.stat().st_ino for path in out.rglob("*") if path.name != "README.md"}
    publish_all(out, clips, CONFIG)
    after = {path: path.stat().st_ino for path in out.rglob("*") if path.name != "README.md"}
    assert after == before


def test_a_changed_manifest_is_never_taken_over(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    publish_all(out, dict(list(clips.items())[:9]), CONFIG)
    index = (out / "dataset.json").read_bytes()
    for name in ("manifest/clips.parquet", index_of(out).manifest("manifest/clips.parquet")):
        path = out / str(name)
        right = path.read_bytes()
        table = pq.read_table(path)
        title = table.schema.names.index("caption.text")
        lies = table.set_column(title, table.schema.field(title), [["lies"] * len(table)])
        pq.write_table(lies, path)
        with pytest.raises(ManifestError, match=f"{path.name}: its sha256 is"):
            publish_all(out, clips, CONFIG)
        assert (out / "dataset.json").read_bytes() == index
        path.write_bytes(right)
    publish_all(out, clips, CONFIG)
    assert "lies" not in {row["caption.text"] for row in rows_of(out).values()}


def test_copies_that_are_missing_or_old_are_written_anew(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    publish_all(out, dict(list(clips.items())[:9]), CONFIG)
    copy = out / "manifest/clips.parquet"
    old = copy.read_bytes()
    publish_all(out, clips, CONFIG)
    new = copy.read_bytes()
    assert new != old
    for change in (lambda: copy.write_bytes(old), copy.unlink):
        change()
        publish_all(out, clips, CONFIG)
        assert copy.read_bytes() == new


def test_a_lost_index_does_not_begin_a_dataset_anew(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    publish_all(out, clips, CONFIG)
    (out / "dataset.json").unlink()
    before = tree(out)
    with pytest.raises(ManifestError, match="its index is lost"):
        publish_all(out, clips, CONFIG)
    assert tree(out) == before


def test_a_dataset_from_before_names_had_hashes_goes_on(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    out = tmp_path / "out"
    publish_all(out, dict(list(clips.items())[:9]), CONFIG)
    before = with_plain_names(out)
    old = {shard.name: (out / shard.name).read_bytes() for shard in before.shards}
    index = publish_all(out, clips, CONFIG).index
    assert index.shards[: len(old)] == before.shards
    assert {name: (out / name).read_bytes() for name in old} == old
    assert index.generation == 2
    assert set(rows_of(out)) == set(clips)
    check_dataset(out)


def with_plain_names(out: Path) -> DatasetIndex:
    """Rename what a first generation holds to what versions before hashes called it."""
    index = index_of(out)
    rows = pq.read_table(out / "manifest/clips.parquet")
    names = {shard.name: f"{shard.name.rpartition('-')[0]}.tar" for shard in index.shards}
    for name, plain in names.items():
        (out / name).rename(out / plain)
    place = rows.schema.names.index("shard")
    renamed = [names.get(row, "") for row in rows["shard"].to_pylist()]
    rows = rows.set_column(place, rows.schema.field(place), [renamed])
    for path in out.glob("manifest/*-*.parquet"):
        path.unlink()
    pq.write_table(rows, out / "manifest/clips.parquet")
    unhashed = index.model_copy(
        update={
            "shards": tuple(
                shard.model_copy(update={"name": names[shard.name]}) for shard in index.shards
            ),
            "manifests": {
                plain_name(name): entry.model_copy(
                    update={
                        "sha256": hashlib.sha256((out / plain_name(name)).read_bytes()).hexdigest()
                    }
                )
                for name, entry in index.manifests.items()
            },
        }
    )
    (out / "dataset.json").write_bytes(unhashed.to_json())
    return unhashed


def test_who_reads_by_the_last_index_is_not_robbed(
    tmp_path: Path, clips: dict[str, ClipRecord]
) -> None:
    """However long ago its files were written: they are unlisted only now."""
    out, names = tmp_path / "out", sorted(clips)
    publish_all(out, {name: clips[name] for name in names[:6]}, CONFIG)
    first = index_of(out)
    for name in first.manifests:
        os.utime(out / name, (0, 0))
    publish_all(out, {name: clips[name] for name in names[:12]}, CONFIG)
    with PublishedTables(Destination(str(out)), first) as tables:
        assert len(list(tables.rows(CLIPS_NAME))) == 6
    publish_all(out, clips, CONFIG)
    assert not any((out / name).exists() for name in first.manifests)
