"""The content store: whole entries or none, whoever writes and whenever they die."""

from pathlib import Path

from avipipe.errors import FailKind
from avipipe.manifests.records import Fail, Keep, Outcome, Record
from avipipe.pipeline.store import Store

KEY = "ab" * 32


def commit(store: Store, outcome: Outcome, files: dict[str, str] | None = None) -> Record:
    scratch = store.scratch_folder(KEY)
    for name, text in (files or {}).items():
        (scratch / name).write_text(text)
    return store.commit(Record(KEY, "cut", "clip", outcome), scratch)


def test_gives_back_record_and_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = commit(store, Keep({"num_frames": 3}, ("video.mp4",)), {"video.mp4": "bytes"})
    assert store.get(KEY) == kept
    assert (store.folder(KEY) / "video.mp4").read_text() == "bytes"


def test_the_first_result_of_a_key_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = commit(store, Keep({"n": 1}, ("f",)), {"f": "first"})
    assert commit(store, Keep({"n": 2}, ("f",)), {"f": "second"}) == first
    assert (store.folder(KEY) / "f").read_text() == "first"


def test_a_failure_gives_way_to_a_result_but_not_the_other_way_round(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, Fail(FailKind.TIMEOUT, "slow"))
    kept = commit(store, Keep({"n": 1}))
    assert store.get(KEY) == kept
    assert commit(store, Fail(FailKind.TIMEOUT, "slow")) == kept


def test_a_folder_without_its_record_does_not_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.folder(KEY).mkdir(parents=True)
    (store.folder(KEY) / "video.mp4").write_text("left behind by a killed worker")
    assert store.get(KEY) is None
    commit(store, Keep({}, ("video.mp4",)), {"video.mp4": "whole"})
    assert (store.folder(KEY) / "video.mp4").read_text() == "whole"


def test_attempts_count_within_a_run_and_end_with_a_result(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert [store.begin(KEY, "run-1"), store.begin(KEY, "run-1")] == [1, 2]
    assert store.begin(KEY, "run-2") == 1
    commit(store, Keep({}))
    assert store.begin(KEY, "run-1") == 1


def test_discard_removes_everything(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, Keep({}, ("f",)), {"f": "x"})
    store.discard(KEY)
    assert store.get(KEY) is None
    assert not store.folder(KEY).exists()
