"""The ledger survives what happens to files."""

import zlib
from pathlib import Path

import pytest

from avipipe.errors import FailKind, ManifestError
from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import Drop, DropReason, Fail, Keep, Outcome, Record, Span


def record(key: str, outcome: Outcome | None = None) -> Record:
    return Record(key, "listen", f"item-{key}", outcome or Keep({"rms_dbfs": -20.5}))


def test_holds_every_kind_of_outcome(tmp_path: Path) -> None:
    outcomes: list[Outcome] = [
        Keep({"a": [1, 2]}, ("video.mp4",), (Span(0.0, 2.5),)),
        Drop(DropReason.SILENT, {"rms_dbfs": -90.0}),
        Fail(FailKind.TIMEOUT, "too slow", 2, "tail\nof log"),
    ]
    records = [record(str(number), outcome) for number, outcome in enumerate(outcomes)]
    with Ledger(tmp_path) as ledger:
        for each in records:
            ledger.append(each)
    with Ledger(tmp_path, read_only=True) as ledger:
        assert list(ledger.records()) == records


def test_the_last_record_of_a_key_counts(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(record("k", Fail(FailKind.UNREACHABLE, "no route")))
        ledger.append(record("k"))
    with Ledger(tmp_path, read_only=True) as ledger:
        assert ledger.get("k") == record("k")
        assert len(ledger) == 1


def test_a_forgotten_key_is_gone_after_reopening(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(record("k"))
        ledger.forget("k")
        assert "k" not in ledger
    with Ledger(tmp_path) as ledger:
        assert ledger.get("k") is None
        ledger.append(record("k"))
        assert ledger.get("k") == record("k")


@pytest.mark.parametrize("cut_bytes", [1, 5, 30])
def test_a_torn_last_record_is_moved_aside(tmp_path: Path, cut_bytes: int) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(record("a"))
        ledger.append(record("b"))
    path = tmp_path / "records.log"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut_bytes])
    with Ledger(tmp_path) as ledger:
        assert ledger.get("a") == record("a")
        assert ledger.get("b") is None
        ledger.append(record("b"))
    assert path.read_bytes() == whole
    assert path.with_suffix(".torn").exists()


def test_damage_in_the_middle_is_an_error_with_its_line(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for key in "abc":
            ledger.append(record(key))
    path = tmp_path / "records.log"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"rms", b"rmz")
    path.write_bytes(b"".join(lines))
    with pytest.raises(ManifestError, match=r"records\.log:2: this line is damaged"):
        Ledger(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"version":2', b'"version":9', "found version 9"),
        (b'"wall_s"', b'"joules"', "unexpected keyword argument 'joules'"),
        (b'"kind":"timeout"', b'"kind":"eclipse"', "'eclipse' is not a valid FailKind"),
        (b'"outcome":{', b'"outcome":[{', "Expecting"),
    ],
)
def test_a_record_of_another_version_is_an_error_with_its_line(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    with Ledger(tmp_path) as ledger:
        for key in "abc":
            ledger.append(record(key, Fail(FailKind.TIMEOUT, "slow")))
    path = tmp_path / "records.log"
    lines = path.read_bytes().splitlines(keepends=True)
    content = lines[1][9:].rstrip(b"\n").replace(old, new)
    lines[1] = b"%08x %s\n" % (zlib.crc32(content), content)
    path.write_bytes(b"".join(lines))
    with Ledger(tmp_path, read_only=True) as ledger:
        assert ledger.get("a") == record("a", Fail(FailKind.TIMEOUT, "slow"))
        with pytest.raises(ManifestError, match=r"records\.log:2: another version") as caught:
            ledger.get("b")
        assert message in str(caught.value)
        with pytest.raises(ManifestError, match=r"records\.log:2"):
            list(ledger.records())


def test_an_absent_ledger_reads_as_empty(tmp_path: Path) -> None:
    with Ledger(tmp_path / "nothing", read_only=True) as ledger:
        assert len(ledger) == 0
        assert list(ledger.records()) == []
    assert not (tmp_path / "nothing").exists()
