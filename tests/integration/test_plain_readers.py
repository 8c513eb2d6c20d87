"""A published dataset as other programs read it that know nothing of avipipe."""

import json
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import webdataset
from pycocotools import mask as coco

from avipipe.manifests import rle
from avipipe.manifests.samples import ClipRecord
from avipipe.stages.publish import PublishConfig
from tests.publishing import SIZE, by_id, publish_all, record

pytestmark = [  # datasets and webdataset leave files to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CONFIG = PublishConfig(max_samples=4, splits={"train": 1.0})
NUM_POOR, NUM_RICH = 6, 6
RICH_EVIDENCE: dict[str, dict[str, Any]] = {
    "listen": {
        "tags": {"speech": 0.8, "dog": 1},
        "speech": [{"start_s": 0, "end_s": 1.5, "label": "speech"}],
        "num_speakers": 2,
        "speech_confidence": 0.5,
        "new_measure": [[1, 2], []],
    },
    "decide_mask": {"probability": 0.9, "findings": [{"check": "too_short", "value": 1.5}]},
}
POOR_EVIDENCE: dict[str, dict[str, Any]] = {
    "listen": {
        "tags": {},
        "speech": [],
        "num_speakers": None,
        "speech_confidence": None,
    },
    "decide_mask": {"probability": 1, "findings": []},
}


def poor(clip: ClipRecord) -> ClipRecord:
    """With nothing but empty lists, empty maps and unknowns, and an instance that is never seen."""
    masks = clip.files["masks.json"]
    track = rle.read_masks(masks)
    rle.write_masks(masks, [track.frames[-1]] * len(track.frames), size=SIZE)
    source = replace(clip.source, origin=dict.fromkeys(clip.source.origin), metadata={}, sha256="")
    return replace(clip, source=source, evidence={**clip.evidence, **POOR_EVIDENCE}, provenance={})


def rich(clip: ClipRecord, number: int) -> ClipRecord:
    """With keys of its own, and whole numbers where others have fractions."""
    source = replace(
        clip.source,
        origin={**clip.source.origin, "uploader": "Somebody", f"extra{number}": "x"},
        metadata={"licence": "CC0", f"column{number}": "y"},
    )
    provenance = {"listen": {"version": 1, "settings": {f"option{number}": number}}}
    evidence = {**clip.evidence, **RICH_EVIDENCE}
    return replace(clip, source=source, evidence=evidence, provenance=provenance)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, ClipRecord]:
    """By id, and so as they are published: what says least comes first."""
    folder = tmp_path_factory.mktemp("media")
    kept = [poor(record(folder, n)) for n in range(NUM_POOR)]
    kept += [rich(record(folder, NUM_POOR + n), n) for n in range(NUM_RICH)]
    dropped = record(folder, 40, decision="drop", reason="silent")
    return by_id([*kept, dropped])


@pytest.fixture(scope="module")
def dataset(clips: Mapping[str, ClipRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dataset") / "set"
    publish_all(out, clips, CONFIG)
    assert len(shards(out)) == 3
    return out


def shards(dataset: Path) -> list[str]:
    return sorted(str(path) for path in dataset.glob("shards/*.tar"))


def kept(clips: Mapping[str, ClipRecord]) -> list[ClipRecord]:
    return [clips[name] for name in sorted(clips) if clips[name].decision == "keep"]


def check_sample(sample: Mapping[str, Any], facts: Mapping[str, Any], clip: ClipRecord) -> None:
    """That the members of a sample, and its `json`, say what is known of a clip."""
    assert facts["clip_id"] == clip.clip_id
    assert facts["caption"] == {"text": "A thing knocks.", "backend": "template@1"}
    assert facts["span"] == {"start_s": clip.span.start_s, "end_s": clip.span.end_s}
    assert facts["size"] == list(SIZE)
    assert type(facts["probability"]) is float
    assert facts["probability"] == clip.probability
    assert json.loads(facts["source"]["origin"]) == clip.source.origin
    assert json.loads(facts["source"]["metadata"]) == clip.source.metadata
    assert json.loads(facts["provenance"]) == clip.provenance
    evidence = json.loads(facts["evidence"])
    assert evidence["listen"] == clip.evidence["listen"]
    assert evidence["decide_mask"] == clip.evidence["decide_mask"]
    is_seen = clip.evidence["decide_mask"]["findings"] != []
    assert facts["boxes"] == [[10, 5, 30, 20] if is_seen else [0, 0, 0, 0], [0, 0, 0, 0]]
    assert sample["mp4"] == clip.files["mp4"].read_bytes()
    assert sample["flac"] == clip.files["flac"].read_bytes()


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets(
    dataset: Path, clips: Mapping[str, ClipRecord], tmp_path: Path, streaming: bool
) -> None:
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(
        "webdataset",
        data_files={"train": shards(dataset)},
        split="train",
        cache_dir=str(tmp_path),
        streaming=streaming,
    )
    found = found.cast_column("mp4", datasets.Video(decode=False))
    found = found.cast_column("flac", datasets.Audio(decode=False))
    samples = list(found)
    assert [sample["__key__"] for sample in samples] == [clip.clip_id for clip in kept(clips)]
    for sample, clip in zip(samples, kept(clips), strict=True):
        media = {name: sample[name]["bytes"] for name in ("mp4", "flac")}
        check_sample(media, sample["json"], clip)
        assert sample["masks.json"]["fps"] == 24
        assert len(sample["masks.json"]["frames"]) == 2
        assert [level["p"] for level in sample["pairs.json"]["levels"]] == [1, 2, 3, 4]


def test_datasets_by_the_folder_alone(
    dataset: Path, clips: Mapping[str, ClipRecord], tmp_path: Path
) -> None:
    """As from a hub: the head of the card names the shards of each split."""
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(str(dataset), cache_dir=str(tmp_path))
    assert set(found) == {"train"}
    assert found["train"]["__key__"] == [clip.clip_id for clip in kept(clips)]


def test_datasets_on_a_build(built: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(
        "webdataset", data_files=shards(built), split="train", cache_dir=str(tmp_path)
    )
    found = found.select_columns(["__key__", "json"])
    assert len(found) == 2
    for sample in found:
        assert sample["json"]["clip_id"] == sample["__key__"]
        assert json.loads(sample["json"]["evidence"])["listen"]["tags"]
        assert abs(sample["json"]["sync"]["av_offset_ms"]) <= 20


def test_webdataset(dataset: Path, clips: Mapping[str, ClipRecord]) -> None:
    samples = list(webdataset.WebDataset(shards(dataset), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [clip.clip_id for clip in kept(clips)]
    for sample, clip in zip(samples, kept(clips), strict=True):
        check_sample(sample, json.loads(sample["json"]), clip)
        masks = json.loads(sample["masks.json"])
        codes = [{"size": masks["size"], "counts": code.encode()} for code in masks["frames"]]
        is_seen = json.loads(json.loads(sample["json"])["evidence"])["decide_mask"]["findings"]
        assert coco.area(codes).tolist() == [300 if is_seen else 0, 0]


def test_tarfile(dataset: Path, clips: Mapping[str, ClipRecord]) -> None:
    members: dict[str, dict[str, bytes]] = {}
    for shard in shards(dataset):
        with tarfile.open(shard, "r:") as tar:
            for header in tar:
                key, _, name = header.name.partition(".")
                file = tar.extractfile(header)
                assert file is not None
                members.setdefault(key, {})[name] = file.read()
    assert list(members) == [clip.clip_id for clip in kept(clips)]
    for clip in kept(clips):
        check_sample(members[clip.clip_id], json.loads(members[clip.clip_id]["json"]), clip)


def check_rows(rows: list[dict[str, Any]], clips: Mapping[str, ClipRecord]) -> None:
    assert [row["clip_id"] for row in rows] == sorted(clips)
    for row in rows:
        clip = clips[row["clip_id"]]
        assert (row["decision"], row["reason"]) == (clip.decision, clip.reason)
        assert (row["start_s"], row["end_s"]) == (clip.span.start_s, clip.span.end_s)
        assert json.loads(row["evidence"]) == clip.evidence
        assert bool(row["shard"]) == (clip.decision == "keep")


def test_pandas(dataset: Path, clips: Mapping[str, ClipRecord]) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(dataset / "manifest" / "clips.parquet")
    check_rows(table.to_dict("records"), clips)
    assert table["listen.speech_confidence"].dropna().tolist() == [0.5] * NUM_RICH
    assert dict(table["listen.tags"].iloc[NUM_POOR]) == {"speech": 0.8, "dog": 1.0}
    sources = pandas.read_parquet(dataset / "manifest" / "sources.parquet")
    assert len(sources) == len({clip.source.source_id for clip in clips.values()})


def test_polars(dataset: Path, clips: Mapping[str, ClipRecord]) -> None:
    polars = pytest.importorskip("polars")
    table = polars.read_parquet(dataset / "manifest" / "clips.parquet")
    check_rows(table.to_dicts(), clips)
    rich_rows = polars.scan_parquet(dataset / "manifest" / "clips.parquet").filter(
        polars.col("listen.speech_confidence") > 0.4
    )
    assert rich_rows.select("clip_id").collect().height == NUM_RICH
    assert polars.read_parquet(dataset / "manifest" / "sources.parquet").height == len(clips)


def test_duckdb(dataset: Path, clips: Mapping[str, ClipRecord]) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        path = str(dataset / "manifest" / "clips.parquet")
        cursor = connection.execute("select * from read_parquet(?) order by clip_id", [path])
        names = [column[0] for column in cursor.description]
        check_rows([dict(zip(names, row, strict=True)) for row in cursor.fetchall()], clips)
        (loud,) = connection.execute(
            'select count(*) from read_parquet(?) where "listen.speech_confidence" > 0.4 '
            "and \"listen.tags\"['speech'] > 0.5",
            [path],
        ).fetchone()
    assert loud == NUM_RICH
