"""What bad input gets: one clear message, the right exit code, nothing lost."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.builds import (
    assert_adds_up,
    avipipe,
    build,
    command,
    environment,
    published,
    status,
)

INLINE = ("--executor", "inline")


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own, which takes rights that not every user has."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "list.txt"),
        (b"# nothing but a comment\n", "list.txt"),
        (b"clip.mp4\n\xff\xfe.mp4\n", "UTF-8"),
        (b"clip.mp4 9 3\n", "list.txt:1"),
    ],
)
def test_a_bad_list(tmp_path: Path, content: bytes, message: str) -> None:
    listing = tmp_path / "list.txt"
    listing.write_bytes(content)
    done = avipipe("build", "--source", listing, "--out", tmp_path / "out", *INLINE)
    assert done.code in (2, 3), done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    done = avipipe("build", "--source", tmp_path / "none.txt", "--out", tmp_path / "out")
    assert done.code == 2
    assert "none.txt" in done.err


def test_an_unknown_key_names_the_nearest(small_clips: Path, tmp_path: Path) -> None:
    options = ["--set", "stages.decide.max_speaker=2"]
    source = small_clips / "sources.txt"
    done = avipipe("build", "--source", source, "--out", tmp_path / "out", *options)
    assert done.code == 2
    assert "stages.decide.max_speakers" in done.err


def test_every_bad_file_fails_with_its_own_reason(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video, whatever its name says\n" * 50)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    names = ["text.mp4", "empty.mp4", "folder.mp4", "none.mp4", "http://127.0.0.1:9/clip.mp4"]
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"{name}\n" for name in names))
    out = tmp_path / "out"
    options = ["--set", "stages.fetch.retries=0", *INLINE]
    build(listing, out, *options)
    counts = status(out)
    assert_adds_up(counts)
    assert counts["fetch"]["reasons"] == {
        "fail:empty_file": 1,
        "fail:not_media": 1,
        "fail:no_such_file": 1,
        "fail:unreachable": 1,
    }
    assert counts["probe"]["reasons"] == {"fail:not_media": 1}
    assert (out / "report.html").exists()


def test_duplicate_lines_are_built_once(small_clips: Path, tmp_path: Path) -> None:
    lines = (small_clips / "sources.txt").read_text().splitlines()
    (line,) = (line for line in lines if "silent" in line)  # soon done with
    listing = small_clips / "twice.txt"
    listing.write_text(f"{line}\n" * 2)
    done = build(listing, tmp_path / "out", *INLINE)
    assert "1 duplicate" in done.err
    assert status(tmp_path / "out")["fetch"]["in"] == 1


def test_another_configuration_is_refused_with_the_difference(
    small_clips: Path, built: Path
) -> None:
    before = published(built)
    source = small_clips / "sources.txt"
    done = avipipe("build", "--source", source, "--out", built, "--set", "stages.pair.num_levels=3")
    assert done.code == 2
    assert "stages.pair.num_levels: 4 -> 3" in done.err
    assert published(built) == before


def test_a_folder_of_other_things_is_refused(small_clips: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for verb in ("plan", "build"):
        done = avipipe(verb, "--source", small_clips / "sources.txt", "--out", tmp_path)
        assert done.code == 2
        assert "thesis.tex" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_a_read_only_output_is_one_message(small_clips: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,ro") as disk:
        done = avipipe("build", "--source", small_clips / "sources.txt", "--out", disk / "out")
    assert done.code == 5
    assert "cannot write" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_full_disk_stops_the_build_and_loses_nothing(
    small_clips: Path, built: Path, tmp_path: Path, executor: str
) -> None:
    source = small_clips / "sources.txt"
    with small_disk(tmp_path / "disk", "size=1500k") as disk:
        out = disk / "out"
        options = ["--executor", executor]
        done = avipipe("build", "--source", source, "--out", out, *options)
        assert done.code == 5, done.err
        assert "No space left" in done.err
        assert "Traceback" not in done.err
        assert "no_space" not in str(status(out)), "a full disk is nobody's failure"
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        build(source, out, *options)
        assert published(out) == published(built)


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_ctrl_c_stops_cleanly_and_resumes(
    small_clips: Path, built: Path, tmp_path: Path, executor: str
) -> None:
    source, out = small_clips / "sources.txt", tmp_path / "out"
    process = subprocess.Popen(
        command("build", "--source", source, "--out", out, "--executor", executor),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    records = out / "work" / "ledger" / "records.log"
    deadline_s = time.monotonic() + 120
    while not (records.exists() and records.stat().st_size) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again" in err
    build(source, out, "--executor", executor)
    assert published(out) == published(built)


def test_a_truncated_ledger_costs_one_record(
    small_clips: Path, built: Path, tmp_path: Path
) -> None:
    source, out = small_clips / "sources.txt", Path(shutil.copytree(built, tmp_path / "out"))
    records = out / "work" / "ledger" / "records.log"
    records.write_bytes(records.read_bytes()[:-40])
    build(source, out, *INLINE)
    assert_adds_up(status(out))
    assert published(out) == published(built)


def test_two_builds_do_not_share_a_work_folder(small_clips: Path, tmp_path: Path) -> None:
    source, out = small_clips / "sources.txt", tmp_path / "out"
    words = command("build", "--source", source, "--out", out, *INLINE)
    first = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment())
    lock = out / "work" / "lock"
    while not (lock.exists() and lock.read_text()):
        time.sleep(0.05)
    second = avipipe("build", "--source", source, "--out", out, *INLINE)
    first.kill()
    first.wait()
    assert second.code == 5
    assert str(first.pid) in second.err


def test_verify_finds_a_corrupted_shard(built: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(built), str(tmp_path / "copy")], check=True)
    copy = tmp_path / "copy"
    assert avipipe("verify", "--out", copy).code == 0
    shard = next(copy.glob("shards/*.tar"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    done = avipipe("verify", "--out", copy)
    assert done.code == 3
    assert shard.name in done.out + done.err


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    done = avipipe("status", "--out", tmp_path)
    assert done.code == 3
    assert "config.yaml" in done.err
    assert "Traceback" not in done.err
