"""Whole builds of lists with URLs: ranges of one URL, and a host that wanted to be left alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from avipipe.media.ffmpeg import run
from avipipe.media.probe import probe
from avipipe.synth.encode import write_clip
from avipipe.synth.render import render
from tests.integration.builds import assert_adds_up, avipipe, build, status
from tests.integration.fetching import Handler, Server, running

CLIP_S = 2.5
NUM_CLIPS = 30


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    settings = {"state_dir": tmp_path / "hosts", "retries": 0, "page_interval_s": 0}
    told = [f"--set=stages.fetch.{name}={value}" for name, value in settings.items()]
    return ["--executor", "inline", *told]


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out / "manifest" / f"{table}.parquet").to_pylist()
    return found


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bouncing ball that is heard, over and over, for 75 s."""
    folder = tmp_path_factory.mktemp("film")
    write_clip(render("bounce", 3, duration_s=CLIP_S, height_px=120), folder / "once.mp4")
    film = folder / "film.mp4"
    coded = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "24", "-c:a", "aac")
    again = ("-stream_loop", str(NUM_CLIPS - 1), "-i", str(folder / "once.mp4"))
    run([*again, *coded, str(film)], timeout_s=100)
    return film


@pytest.mark.slow
def test_lines_of_one_url(tmp_path: Path, server: Server, film: Path, options: list[str]) -> None:
    """Each line is accounted for by itself; a later list adds to it, and fetches that alone."""
    server.files["/film.mp4"] = film.read_bytes()
    url, listing, out = server.url("/film.mp4"), tmp_path / "list.txt", tmp_path / "out"
    length_s = probe(film).duration_s
    listing.write_text(f"{url} 20 22.5\n{url} 50 52.5\n{url} 900 905\n")
    build(listing, out, *options)
    counts = status(out)
    assert_adds_up(counts)
    assert (counts["fetch"]["keep"], counts["probe"]["keep"]) == (3, 2)
    assert counts["probe"]["reasons"] == {"fail:range_outside": 1}
    assert server.sent_bytes["/film.mp4"] < film.stat().st_size
    sources = rows(out, "sources")
    assert [source["status"] for source in sources] == ["ok", "ok", "fail"]
    assert len({source["source_id"] for source in sources}) == 1
    first = {row["clip_id"]: (row["start_s"], row["end_s"]) for row in rows(out, "clips")}
    assert any(20 <= start_s < end_s <= 22.5 for start_s, end_s in first.values())
    assert any(50 <= start_s < end_s <= 52.5 for start_s, end_s in first.values())
    assert "expected a range within the video's" in avipipe("why", f"{url}", "--out", out).out

    before = server.sent_bytes["/film.mp4"]
    listing.write_text(f"{url} 30 32.5\n")
    build(listing, out, *options)
    assert 0 < server.sent_bytes["/film.mp4"] - before < film.stat().st_size
    sources = rows(out, "sources")
    assert [source["status"] for source in sources] == ["ok", "ok", "ok", "fail"]
    assert len({source["source_id"] for source in sources}) == 1
    second = {row["clip_id"]: (row["start_s"], row["end_s"]) for row in rows(out, "clips")}
    assert first.items() < second.items()
    assert all(end_s <= length_s for _, end_s in second.values())

    before = server.sent_bytes["/film.mp4"]
    build(listing, out, *options)
    assert server.sent_bytes["/film.mp4"] == before


def test_retry_forgets_what_a_host_asked_for(
    tmp_path: Path, server: Server, film: Path, options: list[str]
) -> None:
    answers = [429, 200]

    def reply(handler: Handler) -> None:
        if answers.pop(0) == 429:
            handler.answer(429, b"", {"Retry-After": "9999999999"})
        else:
            handler.give((film.parent / "once.mp4").read_bytes(), None)

    server.replies["/once.mp4"] = reply
    listing, out = tmp_path / "list.txt", tmp_path / "out"
    listing.write_text(f"{server.url('/once.mp4')}\n")
    build(listing, out, *options)
    assert status(out)["fetch"]["reasons"] == {"fail:rate_limited": 1}
    done = avipipe("retry", "--out", out)
    assert done.code == 0, done.err
    build(listing, out, *options)
    assert status(out)["fetch"]["keep"] == 1
