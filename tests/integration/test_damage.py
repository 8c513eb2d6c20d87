"""Damage in a build's own files: named, made again, and never published."""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avipipe.cli import main
from avipipe.manifests.ledger import FILE_NAME, Ledger
from avipipe.manifests.records import Keep, Outcome, Record
from avipipe.pipeline.repair import forget_damaged
from avipipe.pipeline.store import ContentStore
from avipipe.pipeline.workspace import Workspace
from avipipe.stages.base import Item
from avipipe.stages.pair import Pair
from tests.integration.builds import assert_adds_up, avipipe, build, published, status, unpublish

INLINE = ("--executor", "inline")


@pytest.fixture
def finished(built: Path, tmp_path: Path) -> Path:
    """A published dataset, free to be damaged."""
    return Path(shutil.copytree(built, tmp_path / "dataset"))


@pytest.fixture
def made(finished: Path) -> Path:
    """The same, made and not published yet."""
    unpublish(finished)
    return finished


def kept_clips(out: Path) -> list[str]:
    return sorted(record.item_id for record in records(out, "pair"))


def records(out: Path, *stages: str) -> list[Record]:
    """What the ledger says of stages."""
    with Ledger(out / "work" / "ledger", read_only=True) as ledger:
        return list(ledger.records(stages=stages))


def record_of(out: Path, clip_id: str, stage: str) -> Record:
    (found,) = (record for record in records(out, stage) if record.item_id == clip_id)
    return found


def object_path(out: Path, record: Record, name: str) -> Path:
    return ContentStore(out / "work").folder(record.key) / name


def record_path(out: Path, record: Record) -> Path:
    return out / "work" / "store" / record.key[:2] / f"{record.key}.json"


def flip_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), max(len(content) // 200, 1)):
        content[place] ^= 1
    path.write_bytes(content)


def ran(out: Path, since_bytes: int) -> list[tuple[str, str]]:
    """(item, stage) of what the ledger has taken in since it had that length."""
    lines = (out / "work" / "ledger" / FILE_NAME).read_bytes()[since_bytes:].splitlines()
    bodies = [line.split(b" ", 4)[2:] for line in lines]
    new = [json.loads(body) for stage, _, body in bodies if stage not in (b"-", b"publish")]
    return sorted((body["item_id"], body["stage"]) for body in new)


def ledger_bytes(out: Path) -> int:
    return (out / "work" / "ledger" / FILE_NAME).stat().st_size


FROM_MASK = {"mask", "decide_mask", "caption", "instruct", "pair"}


def test_flipped_bits_are_found_before_they_are_published(
    small_clips: Path, built: Path, made: Path
) -> None:
    first, second = kept_clips(made)
    video = object_path(made, record_of(made, first, "cut"), "video.mp4")
    masks = object_path(made, record_of(made, second, "mask"), "masks.json")
    flip_bits(video)
    flip_bits(masks)
    before = ledger_bytes(made)
    done = build(small_clips / "sources.txt", made, *INLINE)
    assert f"{first}: `cut` runs again" in done.err
    assert f"{video} is damaged: expected {video.stat().st_size} bytes" in done.err
    assert f"{second}: `mask` runs again" in done.err
    assert str(masks) in done.err
    assert ran(made, before) == sorted(
        [(first, stage) for stage in FROM_MASK | {"cut", "fingerprint"}]
        + [(second, stage) for stage in FROM_MASK]
    )
    assert published(made) == published(built)
    assert_adds_up(status(made))


def test_files_that_are_gone_or_cut_short_are_made_again(
    small_clips: Path, built: Path, made: Path
) -> None:
    first, second = kept_clips(made)
    sound = object_path(made, record_of(made, first, "cut"), "audio.flac")
    sound.write_bytes(sound.read_bytes()[:1000])
    object_path(made, record_of(made, second, "pair"), "pairs.json").unlink()
    before = ledger_bytes(made)
    done = build(small_clips / "sources.txt", made, *INLINE)
    assert ran(made, before) == sorted([(first, "cut"), (second, "pair")])
    assert done.err.count("its files were gone or cut short") == 2
    assert published(made) == published(built)


def test_what_is_published_is_not_read_again(small_clips: Path, finished: Path) -> None:
    (first, _), before = kept_clips(finished), published(finished)
    flip_bits(object_path(finished, record_of(finished, first, "cut"), "video.mp4"))
    length = ledger_bytes(finished)
    build(small_clips / "sources.txt", finished, *INLINE)
    assert ran(finished, length) == []
    assert published(finished) == before


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_damaged_records_of_the_store_are_named_and_their_items_run_again(
    small_clips: Path, built: Path, made: Path, executor: str
) -> None:
    first, second = kept_clips(made)
    paths = {
        stage: record_path(made, record_of(made, first, stage)) for stage in ("look", "cut", "pair")
    }
    paths["fingerprint"] = record_path(made, record_of(made, second, "fingerprint"))
    other = record_path(made, record_of(made, second, "cut")).read_bytes()
    for stage, content in {
        "look": paths["look"].read_bytes()[:-20],
        "cut": other,
        "pair": b"[]",
        "fingerprint": b"",
    }.items():
        paths[stage].write_bytes(content)
    shutil.rmtree(made / "work" / "ledger")
    done = build(small_clips / "sources.txt", made, "--executor", executor)
    for stage, path in paths.items():
        assert f"`{stage}` ran again: {path} is damaged: " in done.err
    assert published(made) == published(built)
    assert_adds_up(status(made))
    story = avipipe("why", first, "--out", made).out
    assert f"ran again: {paths['cut']} is damaged: expected the record of its name's key" in story


def as_version_1(data: dict[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in data if key not in ("version", "files", "note")}


def to_version_1(out: Path) -> None:
    """Make ledger and store what an earlier version of avipipe wrote."""
    for path in out.glob("work/store/*/*.json"):
        path.write_text(json.dumps(as_version_1(json.loads(path.read_bytes()))))
    path = out / "work" / "ledger" / FILE_NAME
    lines = []
    for line in path.read_bytes().splitlines():
        *head, body = line.split(b" ", 4)[1:]
        body = json.dumps(as_version_1(json.loads(body))).encode()
        content = b" ".join([*head, body])
        lines.append(b"%08x %s\n" % (zlib.crc32(content), content))
    path.write_bytes(b"".join(lines))


def test_records_of_an_earlier_version_are_read_as_before(
    small_clips: Path, finished: Path
) -> None:
    before, counts = published(finished), status(finished)
    to_version_1(finished)
    assert status(finished) == counts
    length = ledger_bytes(finished)
    build(small_clips / "sources.txt", finished, *INLINE)
    assert ran(finished, length) == []
    assert published(finished) == before


def test_what_an_earlier_version_made_is_made_again_before_it_is_published(
    small_clips: Path, built: Path, made: Path
) -> None:
    to_version_1(made)
    length = ledger_bytes(made)
    done = build(small_clips / "sources.txt", made, *INLINE)
    assert "no hash of it is known (an earlier version of avipipe made it)" in done.err
    again = FROM_MASK | {"cut", "fingerprint"}
    assert ran(made, length) == sorted(
        (clip, stage) for clip in kept_clips(made) for stage in again
    )
    assert published(made) == published(built)


def test_a_build_that_ends_while_it_forgets_damage_finds_it_again(made: Path) -> None:
    class Killed(BaseException):
        pass

    class Mortal(ContentStore):
        num_discarded = 0

        def discard(self, key: str) -> None:
            if self.num_discarded == 3:
                raise Killed
            self.num_discarded += 1
            super().discard(key)

    first, _ = kept_clips(made)
    video = object_path(made, record_of(made, first, "cut"), "video.mp4")
    flip_bits(video)
    workspace = Workspace.at(str(made))

    def forget(store: ContentStore) -> set[str]:
        with workspace.survey() as (survey, lines), workspace.open_ledger() as ledger:
            (state,) = (state for state in survey.clips(lines) if state.clip_id == first)
            return forget_damaged([state], ["cut"], ledger, store)

    with pytest.raises(Killed):
        forget(Mortal(workspace.work))
    assert [r.item_id for r in records(made, "pair", "caption")].count(first) == 0
    assert record_of(made, first, "cut"), "the cause is forgotten last"
    assert video.exists()
    assert forget(workspace.store) == {first}
    assert not video.exists()


def test_a_stage_that_names_a_file_it_did_not_write_fails_its_item(
    small_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Pair, item: Item, folder: Path) -> Outcome:
        return Keep({}, files=("pairs.json",))

    monkeypatch.setattr(Pair, "run", run)
    out = tmp_path / "out"
    source = next((small_clips / "clips").glob("bounce*"))
    main(["build", "--source", str(source), "--out", str(out), *INLINE])
    assert status(out)["pair"]["reasons"] == {"fail:internal": 1}


def test_a_broken_folder_is_named_and_is_no_lack_of_room(small_clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "work").mkdir(parents=True)
    (out / "work" / "store").write_text("where a folder would have to be")
    done = avipipe("build", "--source", small_clips / "sources.txt", "--out", out, *INLINE)
    assert done.code == 5
    assert "Not a directory" in done.err
    assert str(out / "work" / "store") in done.err
    assert "make room" not in done.err
    assert "Traceback" not in done.err


def damaged_line(content: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    lines = content.splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    return b"".join(lines)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.yaml", lambda data: b"", ":1: expected `...` as the last line"),
        (
            "config.yaml",
            lambda data: data[: data.index(b"splits:")],
            ": expected `...` as the last line",
        ),
        ("config.yaml", lambda data: data.replace(b"ray", b"r\xe4y", 1), ": expected UTF-8"),
        ("config.yaml", lambda data: b"---\nprofile: [x\n", ":3: expected YAML"),
        ("config.yaml", lambda data: b"---\nprofil: x\n...\n", ": another version of avipipe"),
        ("work/sources.jsonl", lambda data: b"", ":1: expected a source"),
        ("work/sources.jsonl", lambda data: data[:-1], ":5: expected a source"),
        ("work/sources.jsonl", lambda data: data[:-60], ":5: expected a source"),
        ("work/sources.jsonl", lambda data: b"\xff" + data, ":1: expected a source"),
        ("work/sources.jsonl", lambda data: data.replace(b'"uri"', b'"url"', 1), ":1: "),
        ("work/ledger/backends.json", lambda data: data[:-20], ":1: expected the backends"),
    ],
)
def test_a_damaged_file_of_a_build_is_named_with_its_line(
    built: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: Callable[[bytes], bytes],
    message: str,
) -> None:
    out = tmp_path / "dataset"
    for part in ("config.yaml", "work/sources.jsonl", "work/ledger/backends.json"):
        (out / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(built / part, out / part)
    (out / name).write_bytes(change((out / name).read_bytes()))
    with pytest.raises(SystemExit) as ended:
        main(["status", "--out", str(out)])
    assert ended.value.code == 3
    told = capsys.readouterr().err
    assert f"{out / name}" in told
    assert message in told


def test_a_configuration_of_an_earlier_version_is_read(built: Path, tmp_path: Path) -> None:
    content = (built / "config.yaml").read_text()
    unmarked = content.removeprefix("---\n").removesuffix("...\n")
    assert len(unmarked) == len(content) - 8
    (tmp_path / "config.yaml").write_text(unmarked)
    stored = Workspace.at(str(tmp_path)).stored_config()
    assert stored == Workspace.at(str(built)).stored_config()


def test_a_record_of_a_later_version_is_named_with_its_line(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished / "work" / "ledger" / FILE_NAME

    def later(line: bytes) -> bytes:
        content = line[9:].rstrip(b"\n").replace(b'"version":2', b'"version":3')
        return b"%08x %s\n" % (zlib.crc32(content), content)

    path.write_bytes(damaged_line(path.read_bytes(), 4, later))
    with pytest.raises(SystemExit) as ended:
        main(["status", "--out", str(finished)])
    assert ended.value.code == 3
    assert f"{path}:4: another version of avipipe wrote this record" in capsys.readouterr().err
