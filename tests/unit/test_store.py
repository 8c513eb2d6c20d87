"""The content store: whole entries or none, whoever writes and whenever they die."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from avipipe.errors import FailKind, ManifestError
from avipipe.manifests.records import Fail, Keep, Outcome, Record, StoredFile
from avipipe.pipeline.store import ContentStore, is_whole

KEY = "ab" * 32


def commit(store: ContentStore, outcome: Outcome, files: dict[str, str] | None = None) -> Record:
    scratch = store.scratch_folder(KEY)
    for name, text in (files or {}).items():
        (scratch / name).write_text(text)
    return store.commit(Record(KEY, "cut", "clip", outcome), scratch)


def test_gives_back_record_and_files(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    kept = commit(store, Keep({"num_frames": 3}, ("video.mp4",)), {"video.mp4": "bytes"})
    assert store.get(KEY) == kept
    assert (store.folder(KEY) / "video.mp4").read_text() == "bytes"


def test_the_first_result_of_a_key_stays(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    first = commit(store, Keep({"n": 1}, ("f",)), {"f": "first"})
    assert commit(store, Keep({"n": 2}, ("f",)), {"f": "second"}) == first
    assert (store.folder(KEY) / "f").read_text() == "first"


def test_a_failure_gives_way_to_a_result_but_not_the_other_way_round(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    commit(store, Fail(FailKind.TIMEOUT, "slow"))
    kept = commit(store, Keep({"n": 1}))
    assert store.get(KEY) == kept
    assert commit(store, Fail(FailKind.TIMEOUT, "slow")) == kept


def test_a_folder_without_its_record_does_not_count(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    store.folder(KEY).mkdir(parents=True)
    (store.folder(KEY) / "video.mp4").write_text("left behind by a killed worker")
    assert store.get(KEY) is None
    commit(store, Keep({}, ("video.mp4",)), {"video.mp4": "whole"})
    assert (store.folder(KEY) / "video.mp4").read_text() == "whole"


def test_attempts_count_within_a_run_and_end_with_a_result(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    assert [store.begin(KEY, "run-1"), store.begin(KEY, "run-1")] == [1, 2]
    assert store.begin(KEY, "run-2") == 1
    commit(store, Keep({}))
    assert store.begin(KEY, "run-1") == 1


def test_discard_removes_everything(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    commit(store, Keep({}, ("f",)), {"f": "x"})
    store.discard(KEY)
    assert store.get(KEY) is None
    assert not store.folder(KEY).exists()


def test_a_record_says_what_each_file_must_be(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    kept = commit(store, Keep({}, ("a", "b")), {"a": "first", "b": "second"})
    assert kept.files["a"] == StoredFile(sha256(b"first").hexdigest(), 5)
    assert list(store.check(kept)) == []
    (store.folder(KEY) / "a").write_text("worst")
    (store.folder(KEY) / "b").unlink()
    first, second = store.check(kept)
    assert first.startswith(f"{store.folder(KEY) / 'a'} is damaged: expected 5 bytes with sha256 ")
    assert second == f"{store.folder(KEY) / 'b'}: cannot be read: No such file or directory"


def test_a_file_that_is_gone_or_cut_short_is_seen_without_reading_it(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    kept = commit(store, Keep({}, ("a",)), {"a": "whole"})
    path = store.folder(KEY) / "a"
    assert is_whole(kept, store.folder(KEY))
    path.write_text("who")
    assert not is_whole(kept, store.folder(KEY))
    path.unlink()
    assert not is_whole(kept, store.folder(KEY))


def test_files_of_a_record_of_version_1_cannot_be_vouched_for(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    old = replace(commit(store, Keep({}, ("a",)), {"a": "whole"}), files={})
    assert is_whole(old, store.folder(KEY))
    (fault,) = store.check(old)
    assert "no hash of it is known" in fault


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b'{"key": "abab', "Unterminated string"),
        (b"[1, 2]", "expected a record, found list"),
        (b"null", "expected a record, found NoneType"),
        (b"\xe4{", "codec can't decode"),
        (b"[" * 100_000, "recursion"),
        (b'{"version": 3}', "expected a record of version 1 to 2, found version 3"),
        (b'{"version": "x"}', "found version 'x'"),
        (b'{"key": "k"}', "not a record: KeyError"),
    ],
)
def test_a_damaged_record_is_named_and_gives_way(
    tmp_path: Path, content: bytes, message: str
) -> None:
    store = ContentStore(tmp_path)
    commit(store, Keep({"n": 1}))
    path = tmp_path / "store" / KEY[:2] / f"{KEY}.json"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=message) as caught:
        store.read(KEY)
    assert str(path) in str(caught.value)
    assert store.get(KEY) is None
    again = commit(store, Keep({"n": 2}))
    assert store.get(KEY) == again


def test_the_record_of_another_key_does_not_count(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    commit(store, Keep({"n": 1}))
    other = "ab" + "cd" * 31
    path = tmp_path / "store" / "ab" / f"{KEY}.json"
    path.with_name(f"{other}.json").write_bytes(path.read_bytes())
    with pytest.raises(ManifestError, match="expected the record of its name's key"):
        store.read(other)
    assert store.get(other) is None
