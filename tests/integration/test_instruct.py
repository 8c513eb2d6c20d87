"""Edits of clips on their way: published with their split, the same after a crash, verified."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from avipipe.annotators.base import Frames
from avipipe.annotators.full.endpoint import EndpointInstructor
from avipipe.annotators.instruct.base import ProposedEdit
from avipipe.errors import AnnotatorError, ConfigError
from avipipe.manifests.dataset import DatasetIndex
from avipipe.manifests.edits import read_edits
from avipipe.manifests.samples import ClipRecord, split_clip
from avipipe.manifests.splits import assign_splits
from avipipe.manifests.stores.base import read_digest
from avipipe.manifests.tables import CLIPS_NAME, EDITS_NAME
from avipipe.pipeline.verify import verify
from avipipe.services.http import RetryPolicy
from avipipe.stages.publish import PublishConfig
from tests.integration.builds import assert_adds_up, avipipe, build, published, status
from tests.integration.chat_server import Answer, ChatServer, chat_server, says
from tests.integration.test_caption_endpoint import EVIDENCE, FRAMES
from tests.publishing import by_id, publish_all, record

HALVES = {"test": 0.5, "train": 0.5}
HALVED = PublishConfig(splits=HALVES)
INLINE = ("--executor", "inline")


def split_seed(clips: pd.DataFrame) -> int:
    """One by which some kept clips are in each half."""
    kept = clips[clips.decision == "keep"]
    prints = ("video_phash", "audio_chromaprint")
    relatives = [
        split_clip(
            row["clip_id"],
            row["source_id"],
            row["channel"],
            {name: row[f"fingerprint.{name}"].tolist() for name in prints},
        )
        for row in kept.to_dict("records")
    ]
    return next(
        seed
        for seed in range(100)
        if set(assign_splits(relatives, fractions=HALVES, seed=seed, published={}).values())
        == set(HALVES)
    )


@pytest.fixture(scope="module")
def halved(
    built: Path, small_clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[str, ...]]:
    """A dataset with a train and a test split, from the work of another; and its options."""
    out = tmp_path_factory.mktemp("halved") / "dataset"
    seed = split_seed(pd.read_parquet(built / CLIPS_NAME))
    options = (
        *INLINE,
        "--set",
        f"stages.publish.splits={json.dumps(HALVES)}",
        "--set",
        f"stages.publish.split_seed={seed}",
    )
    shutil.copytree(built / "work", out / "work")
    build(small_clips / "sources.txt", out, *options)
    return out, options


@pytest.fixture
def dataset(halved: tuple[Path, tuple[str, ...]], tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return shutil.copytree(halved[0], tmp_path / "dataset")


def members(shard: Path) -> dict[str, bytes]:
    with tarfile.open(shard) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def the_shard(out: Path, split: str) -> Path:
    (shard,) = (out / "shards").glob(f"{split}-*.tar")
    return shard


def test_edits_come_with_the_test_split_alone(halved: tuple[Path, tuple[str, ...]]) -> None:
    out, _ = halved
    assert list(verify(str(out))) == []
    train, test = (members(the_shard(out, split)) for split in ("train", "test"))
    assert not [name for name in train if name.endswith("edits.json")]
    for name, content in train.items():
        if name.endswith(".json") and ".masks." not in name and ".pairs." not in name:
            assert b"instruct" not in content, "what is not published leaves no trace"
    table = pd.read_parquet(out / EDITS_NAME)
    found = {
        name.partition(".")[0]: read_edits(content)
        for name, content in test.items()
        if name.endswith("edits.json")
    }
    assert len(table) == sum(map(len, found.values())) >= 3
    for row in table.to_dict("records"):
        (pair,) = (pair for pair in found[row["clip_id"]] if pair.name == row["name"])
        assert (row["kind"], row["instruction"], row["precision"]) == (
            pair.kind,
            pair.instruction,
            pair.precision,
        )
        assert row["target_label"] == pair.target_label
    counts = status(out)
    assert_adds_up(counts)
    assert counts["instruct"]["keep"] == counts["caption"]["keep"] == 2
    told = avipipe("why", next(iter(found)), "--out", out).out
    for pair in next(iter(found.values())):
        assert pair.instruction in told


def test_what_is_lost_in_work_is_made_again_byte_for_byte(
    halved: tuple[Path, tuple[str, ...]], small_clips: Path, tmp_path: Path
) -> None:
    out, options = halved
    again = tmp_path / "again"
    shutil.copytree(out / "work", again / "work")
    lost = list((again / "work" / "store").glob("*/*/edits.json"))
    assert len(lost) == 2
    for path in lost:
        path.unlink()
    build(small_clips / "sources.txt", again, *options)
    assert published(again) == published(out)


def test_repair_makes_shards_and_table_again(dataset: Path) -> None:
    before = published(dataset)
    for split in ("train", "test"):
        the_shard(dataset, split).write_bytes(b"lost")
    (dataset / EDITS_NAME).write_bytes(b"lost")
    done = avipipe("verify", "--repair", "--out", dataset)
    assert done.code == 0, done.err
    assert published(dataset) == before


def rewritten(out: Path, change: Callable[[bytes], bytes]) -> None:
    """Publish other edits, in shard and index, as somebody might by hand."""
    shard = the_shard(out, "test")
    contents = members(shard)
    with tarfile.open(shard, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in contents.items():
            said = change(content) if name.endswith("edits.json") else content
            header = tarfile.TarInfo(name)
            header.size = len(said)
            tar.addfile(header, io.BytesIO(said))
    with shard.open("rb") as file:
        digest = read_digest(file)
    index = json.loads((out / "dataset.json").read_text())
    for entry in index["shards"]:
        if entry["split"] == "test":
            entry |= {"sha256": digest.sha256, "num_bytes": digest.num_bytes}
    (out / "dataset.json").write_bytes(DatasetIndex.model_validate(index).to_json())


def with_pair(**changes: Any) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        data = json.loads(content)
        data["edits"][0] |= changes
        return json.dumps(data).encode()

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (with_pair(instruction="Do nothing."), "are not the 3 that its sample holds"),
        (with_pair(precision=9), "its precision factor is 9, the most is 4"),
        (with_pair(kind="resize"), "a member is damaged: ManifestError"),
        (lambda content: b"[", "a member is damaged: ManifestError: edits.json: expected JSON"),
        (lambda content: b'{"edits": []}', "are not the 0 that its sample holds"),
    ],
)
def test_verify_finds_edits_that_are_not_the_published_ones(
    dataset: Path, change: Callable[[bytes], bytes], told: str
) -> None:
    rewritten(dataset, change)
    assert any(told in fault for fault in verify(str(dataset)))


# ---- published with made-up clips ----


def edited(folder: Path, number: int) -> ClipRecord:
    """A clip with an edit."""
    made = record(folder, number)
    pair = ProposedEdit("delete", "Nothing.", None, "Remove the thing.", "Remove its sound.")
    data = {
        "name": "delete-1",
        "source_caption": "A thing knocks.",
        "source_label": "thing",
        "precision": 0,
        "made_by": "template@1",
        **{name: getattr(pair, name) for name in pair.__slots__},
    }
    path = made.files["mp4"].with_name("edits.json")
    path.write_text(json.dumps({"edits": [data]}))
    given = {"num_edits": 1, "kinds": ["delete"], "backend": "template@1"}
    return replace(
        made,
        evidence={**made.evidence, "instruct": given},
        files={**made.files, "edits.json": path},
    )


def test_a_later_generation_keeps_the_rows_of_the_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    clips = by_id(edited(tmp_path / "media", number) for number in range(16))
    publish_all(out, {name: clips[name] for name in sorted(clips)[:8]}, HALVED)
    first = pd.read_parquet(out / EDITS_NAME)
    publish_all(out, clips, HALVED)
    both = pd.read_parquet(out / EDITS_NAME)
    tests = pd.read_parquet(out / CLIPS_NAME).query("split == 'test'")
    assert sorted(both.clip_id) == sorted(tests.clip_id)
    assert len(both) > len(first) > 0
    kept = both[both.clip_id.isin(first.clip_id)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, first)
    assert set(both.split) == {"test"}


def test_a_dataset_without_edits_has_no_table_and_takes_edits_later(tmp_path: Path) -> None:
    out = tmp_path / "out"
    plain = by_id(record(tmp_path / "plain", number) for number in range(8))
    publish_all(out, plain, HALVED)
    assert not (out / EDITS_NAME).exists()
    new = by_id(edited(tmp_path / "media", number) for number in range(8, 16))
    publish_all(out, plain | new, HALVED)
    assert set(pd.read_parquet(out / EDITS_NAME).clip_id) <= set(new)


# ---- by an endpoint ----

CAPTIONED = {**EVIDENCE, "caption": {"text": "A ball bounces.", "label": "ball", "backend": "x@1"}}
GOOD = json.dumps(
    {
        "edits": [
            {
                "kind": "delete",
                "target_caption": "An empty floor, and quiet.",
                "target_label": None,
                "instruction": "Remove the ball.",
                "sound_instruction": "Remove its bounces.",
            }
        ]
    }
)


def use(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIPIPE_INSTRUCT_URL", server.url)
    monkeypatch.setenv("AVIPIPE_INSTRUCT_MODEL", "tiny-vl")


def asked(frames: Frames = FRAMES) -> list[ProposedEdit]:
    backend = EndpointInstructor(RetryPolicy(backoff_s=0.01, max_attempts=2))
    backend.setup()
    return backend.instruct(frames, evidence=CAPTIONED, kinds=["delete"], seed=0)


def scripted(*answers: Answer) -> Callable[[Mapping[str, Any], int], Answer]:
    return lambda body, number: answers[min(number, len(answers) - 1)]


def test_an_endpoint_gives_edits_and_may_mend_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(scripted(says("Sure!"), says(GOOD))) as server:
        use(server, monkeypatch)
        (found,) = asked()
    assert (found.kind, found.instruction) == ("delete", "Remove the ball.")
    first, second = server.requests
    form = first["response_format"]["json_schema"]
    assert form["schema"]["$defs"]["EditReply"]["additionalProperties"] is False
    content = first["messages"][0]["content"]
    assert sum(part["type"] == "image_url" for part in content) == 8
    assert "no JSON object" in second["messages"][-1]["content"][0]["text"]


def test_what_an_endpoint_cannot_mend_fails_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(scripted(says(GOOD.replace("the ball", "it")))) as server:
        use(server, monkeypatch)
        with pytest.raises(AnnotatorError, match="the instruction must name the ball"):
            asked()
    assert len(server.requests) == 2


def test_an_endpoint_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVIPIPE_INSTRUCT_URL", raising=False)
    with pytest.raises(ConfigError, match="AVIPIPE_INSTRUCT_URL and AVIPIPE_INSTRUCT_MODEL"):
        EndpointInstructor().setup()
