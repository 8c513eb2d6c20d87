"""Fetch against a real server on this machine that misbehaves in every way that servers do."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from avipipe.errors import ConfigError, FailKind, MediaError
from avipipe.manifests.records import Fail
from avipipe.manifests.sources import read_sources
from avipipe.media.ffmpeg import ffmpeg_path
from avipipe.stages.base import Item
from avipipe.stages.fetch import Fetch, FetchConfig, safe_id, source_path
from tests.integration.fetching import (
    BODY,
    LIVE,
    PAGE,
    SHA256,
    Server,
    config,
    failed,
    fetch,
    item,
    kept,
    running,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def test_media_url(tmp_path: Path, server: Server) -> None:
    outcome = kept(tmp_path, server.url("/ok.mp4"))
    assert outcome.files == ("media.mp4",)
    assert (tmp_path / "out" / "media.mp4").read_bytes() == BODY
    assert outcome.evidence == {
        "source_id": f"http-{SHA256[:16]}",
        "path": "media.mp4",
        "bytes": len(BODY),
        "sha256": SHA256,
        "clock_start_s": None,
        "origin": {
            "extractor": "http",
            "id": SHA256[:16],
            "title": "ok",
            "uploader": None,
            "channel_id": None,
            "licence": None,
            "upload_date": None,
            "webpage_url": server.url("/ok.mp4"),
        },
    }


@pytest.mark.parametrize("path", ["/moved.mp4", "/my clip.mp4", "/my%20clip.mp4"])
def test_redirect_and_spaces(tmp_path: Path, server: Server, path: str) -> None:
    assert kept(tmp_path, server.url(path)).evidence["sha256"] == SHA256


@pytest.mark.parametrize(
    ("path", "kind", "num_requests"),
    [
        ("/400.mp4", FailKind.UNSUPPORTED_URL, 1),
        ("/401.mp4", FailKind.PRIVATE, 1),
        ("/403.mp4", FailKind.PRIVATE, 1),
        ("/404.mp4", FailKind.REMOVED, 1),
        ("/410.mp4", FailKind.REMOVED, 1),
        ("/451.mp4", FailKind.GEO_BLOCKED, 1),
        ("/empty.mp4", FailKind.EMPTY_FILE, 1),
        ("/429.mp4", FailKind.RATE_LIMITED, 3),
        ("/500.mp4", FailKind.UNREACHABLE, 3),
        ("/truncated.mp4", FailKind.UNREACHABLE, 3),
        ("/slow.mp4", FailKind.UNREACHABLE, 3),
    ],
)
def test_only_passing_failures_are_tried_again(
    tmp_path: Path, server: Server, path: str, kind: FailKind, num_requests: int
) -> None:
    fail = failed(tmp_path, server.url(path))
    assert (fail.kind, fail.attempts) == (kind, num_requests)
    assert server.count(path) == num_requests


def test_endless_redirect(tmp_path: Path, server: Server) -> None:
    assert failed(tmp_path, server.url("/loop.mp4")).kind is FailKind.UNSUPPORTED_URL


def test_server_recovers(tmp_path: Path, server: Server) -> None:
    assert kept(tmp_path, server.url("/500-then-200.mp4")).evidence["sha256"] == SHA256


def test_retry_after_is_kept(tmp_path: Path, server: Server) -> None:
    started_s = time.monotonic()
    kept(tmp_path, server.url("/429-then-200.mp4"))
    assert time.monotonic() - started_s >= 1


def test_a_host_that_asks_for_an_hour_is_left_alone(tmp_path: Path, server: Server) -> None:
    first = failed(tmp_path, server.url("/429-for-long.mp4"))
    assert (first.kind, first.attempts) == (FailKind.RATE_LIMITED, 1)
    second, _ = fetch(tmp_path, server.url("/ok.mp4"), "second")
    assert isinstance(second, Fail)
    assert second.kind is FailKind.RATE_LIMITED
    assert "left alone for 3600 s" in second.message
    assert server.count("/ok.mp4") == 0


def test_broken_transfer_goes_on_where_it_broke(tmp_path: Path, server: Server) -> None:
    assert kept(tmp_path, server.url("/resumed.mp4")).evidence["sha256"] == SHA256
    assert server.requests == [("/resumed.mp4", None), ("/resumed.mp4", "bytes=100000-")]


def test_a_file_that_changed_is_not_patched_together(tmp_path: Path, server: Server) -> None:
    assert kept(tmp_path, server.url("/changed.mp4")).evidence["sha256"] == SHA256


def test_truncation_is_told_in_bytes(tmp_path: Path, server: Server) -> None:
    fail = failed(tmp_path, server.url("/truncated.mp4"), retries=0)
    assert "expected 256000 bytes, the connection ended after 128000" in fail.message


def test_rate_limit(tmp_path: Path, server: Server) -> None:
    started_s = time.monotonic()
    kept(tmp_path, server.url("/ok.mp4"), rate_limit_bytes_per_s=512_000)
    assert time.monotonic() - started_s >= 0.5


def test_cookies_are_sent_and_not_written(tmp_path: Path, server: Server) -> None:
    cookies = tmp_path / "cookies.txt"
    text = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t42\n"
    cookies.write_text(text)
    assert failed(tmp_path, server.url("/cookie.mp4")).kind is FailKind.PRIVATE
    kept(tmp_path, server.url("/cookie.mp4"), "with", cookies_file=cookies)
    kept(tmp_path, server.url("/page.html"), "page", cookies_file=cookies)
    assert cookies.read_text() == text


def test_a_bad_line_of_cookies_is_counted_and_not_shown(
    tmp_path: Path,
    server: Server,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    good = "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t42\n"
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(f"# Netscape HTTP Cookie File\n127.0.0.1 session hush-hush\n{good}")
    kept(tmp_path, server.url("/cookie.mp4"), "file", cookies_file=cookies)
    kept(tmp_path, server.url("/page.html"), "page", cookies_file=cookies)
    assert "1 lines are no cookies" in caplog.text
    assert "hush-hush" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("content", [None, '[{"name": "session"}]'])
@pytest.mark.parametrize("path", ["/ok.mp4", "/page.html"])
def test_bad_cookies_are_the_users_to_fix(
    tmp_path: Path, server: Server, path: str, content: str | None
) -> None:
    cookies = tmp_path / "cookies.txt"
    if content is not None:
        cookies.write_text(content)
    with pytest.raises(ConfigError, match=r"stages\.fetch\.cookies_file"):
        fetch(tmp_path, server.url(path), cookies_file=cookies)


@pytest.mark.parametrize("name", ["x.mp4", "x.html"])
def test_dead_host_is_tried_only_once_more_by_later_lines(tmp_path: Path, name: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{name}"
        first = failed(tmp_path, url)
        second = failed(tmp_path, url, "second")
    assert (first.kind, first.attempts) == (FailKind.UNREACHABLE, 3)
    assert (second.kind, second.attempts) == (FailKind.UNREACHABLE, 1)


def test_page(tmp_path: Path, server: Server) -> None:
    outcome = kept(tmp_path, server.url("/page.html"))
    assert outcome.files == ("media.mp4",)
    assert outcome.evidence["sha256"] == SHA256
    assert outcome.evidence["origin"]["webpage_url"] == server.url("/page.html")
    assert outcome.evidence["origin"]["title"] == "A page (1)"


def make_dash(folder: Path) -> None:
    """Half a second of picture at 144 and 288 lines, and of sound, each a stream of its own."""
    renditions = "[0:v]split[a][b];[a]scale=256:144[low];[b]scale=512:288[high]"
    subprocess.run(
        [
            *(ffmpeg_path(), "-v", "error", "-nostdin", "-y"),
            *("-f", "lavfi", "-i", "testsrc=d=0.5:r=24", "-f", "lavfi", "-i", "sine=d=0.5"),
            *("-filter_complex", renditions, "-map", "[low]", "-map", "[high]", "-map", "1:a"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-f", "dash"),
            *("-adaptation_sets", "id=0,streams=v id=1,streams=a", str(folder / "all.mpd")),
        ],
        check=True,
    )


@pytest.mark.parametrize(("short_side_px", "height_px"), [(200, 144), (1080, 288)])
def test_best_rendition_below_the_limit_is_merged_with_sound(
    tmp_path: Path, server: Server, short_side_px: int, height_px: int
) -> None:
    dash = tmp_path / "dash"
    dash.mkdir()
    make_dash(dash)
    server.serve(dash)
    outcome = kept(tmp_path, server.url("/all.mpd"), short_side_px=short_side_px, timeout_s=5)
    assert outcome.files == ("media.mkv",)
    with av.open(tmp_path / "out" / "media.mkv") as container:
        assert container.streams.video[0].height == height_px
        assert len(container.streams.audio) == 1


def test_pages_of_one_name_do_not_share_an_id(tmp_path: Path, server: Server) -> None:
    """yt-dlp's generic extractor calls both `page-1`; the content tells them apart."""
    for number, path in enumerate(("/page.html", "/other/page.html")):
        outcome = kept(tmp_path, server.url(path), f"out{number}")
        assert outcome.evidence["source_id"] == f"http-{SHA256[:16]}"


def test_page_named_like_a_file(tmp_path: Path, server: Server) -> None:
    assert kept(tmp_path, server.url("/File:page.webm")).evidence["sha256"] == SHA256


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("/two.html", FailKind.UNSUPPORTED_URL, "expected one video, found several"),
        ("/none.html", FailKind.UNSUPPORTED_URL, "Unsupported URL"),
        ("/404.html", FailKind.REMOVED, "HTTP Error 404"),
        ("/403.html", FailKind.PRIVATE, "cookies_file"),
        ("/429.html", FailKind.RATE_LIMITED, "page_interval_s"),
        ("/503.html", FailKind.UNREACHABLE, "HTTP Error 503"),
    ],
)
def test_page_failures(
    tmp_path: Path, server: Server, path: str, kind: FailKind, message: str
) -> None:
    fail = failed(tmp_path, server.url(path))
    assert fail.kind is kind
    assert message in fail.message
    assert fail.attempts == (3 if kind in (FailKind.RATE_LIMITED, FailKind.UNREACHABLE) else 1)


@pytest.mark.parametrize(
    ("video", "kind"),
    [
        # A page that opens while its video is refused is how sites treat those who ask too often.
        ("/403.mp4", FailKind.RATE_LIMITED),
        ("/404.mp4", FailKind.REMOVED),
        ("/truncated.mp4", FailKind.UNREACHABLE),
    ],
)
def test_page_whose_video_fails(tmp_path: Path, server: Server, video: str, kind: FailKind) -> None:
    page = PAGE.replace(b"/ok.mp4", video.encode())
    server.files = {"/bad.html": page}
    assert failed(tmp_path, server.url("/bad.html"), retries=0).kind is kind


def test_live_page_is_not_waited_for(tmp_path: Path, server: Server) -> None:
    server.files = {"/live.m3u8": LIVE}
    fail = failed(tmp_path, server.url("/live.m3u8"))
    assert fail.kind is FailKind.UNSUPPORTED_URL
    assert "found a live one" in fail.message


def test_a_failed_page_keeps_the_log(tmp_path: Path, server: Server) -> None:
    assert "[generic]" in failed(tmp_path, server.url("/404.html")).log_tail


@pytest.mark.parametrize("url", ["s3://bucket/x.mp4", "http://", "http://[broken/x.mp4"])
def test_unknown_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(MediaError) as caught:
        fetch(tmp_path, url)
    assert caught.value.kind is FailKind.UNSUPPORTED_URL


def test_local_file_is_hashed_in_place(tmp_path: Path) -> None:
    path = tmp_path / "My clip.MOV"
    path.write_bytes(BODY)
    outcome = kept(tmp_path, path)
    assert outcome.files == ()
    evidence = outcome.evidence
    assert evidence["source_id"] == f"file-{SHA256[:16]}"
    assert (evidence["path"], evidence["bytes"]) == (str(path), len(BODY))
    assert evidence["origin"]["extractor"] == "file"
    assert evidence["origin"]["title"] == "My clip"


def test_a_changed_local_file_is_not_taken_from_the_store(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(BODY)
    stage, evidence = Fetch(config(tmp_path)), kept(tmp_path, path).evidence
    assert stage.fresh(item(path), evidence)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert not stage.fresh(item(path), evidence)
    path.unlink()
    assert not stage.fresh(item(path), evidence)


def test_a_download_stays_fresh(tmp_path: Path, server: Server) -> None:
    url = server.url("/ok.mp4")
    evidence = kept(tmp_path, url).evidence
    assert Fetch(config(tmp_path)).fresh(item(url), evidence)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("gone.mp4", FailKind.NO_SUCH_FILE, "no such file"),
        ("long" * 100 + ".mp4", FailKind.NO_SUCH_FILE, "name too long"),
        ("zero\0.mp4", FailKind.NO_SUCH_FILE, r"zero\\x00.mp4: there is no such file"),
        ("empty.mp4", FailKind.EMPTY_FILE, "empty"),
        ("empty.mp4/below.mp4", FailKind.NO_SUCH_FILE, "no such file"),
        ("folder", FailKind.NOT_MEDIA, "--source"),
        ("pipe", FailKind.NOT_MEDIA, "device"),
    ],
)
def test_bad_local_files(tmp_path: Path, name: str, kind: FailKind, message: str) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MediaError, match=message) as caught:
        fetch(tmp_path, tmp_path / name)
    assert caught.value.kind is kind


def test_source_path_resolves_both_kinds(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(BODY)
    for uri in (str(path), server.url("/ok.mp4")):
        folder = f"store{len(uri)}"
        evidence = kept(tmp_path, uri, folder).evidence
        later = Item("x", item(uri).source, None, {"fetch": evidence}, {"fetch": tmp_path / folder})
        assert source_path(later).read_bytes() == BODY


def test_key_ignores_manners(tmp_path: Path) -> None:
    polite = config(tmp_path, page_interval_s=60, retries=9, cookies_file=tmp_path / "c.txt")
    assert Fetch(polite).key("uri", {}) == Fetch(FetchConfig()).key("uri", {})
    larger = Fetch(FetchConfig(short_side_px=2160))
    assert larger.key("uri", {}) != Fetch(FetchConfig()).key("uri", {})


def test_a_list_from_end_to_end(tmp_path: Path, server: Server) -> None:
    (tmp_path / "local.mp4").write_bytes(BODY)
    lines = f"{server.url('/ok.mp4')} 0 1\nlocal.mp4\n{server.url('/404.mp4')}\n"
    (tmp_path / "list.txt").write_text(lines)
    kinds = []
    for line in read_sources(tmp_path / "list.txt").lines:
        outcome, _ = fetch(tmp_path, line.uri, f"out{line.index}")
        kinds.append(outcome.kind if isinstance(outcome, Fail) else outcome.evidence["sha256"])
    assert kinds == [SHA256, SHA256, FailKind.REMOVED]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("youtube-dQw4w9WgXcQ", "youtube-dQw4w9WgXcQ"),
        ("archive.org-a b", "archive_org-a_b-"),
        ("x-" + "y" * 200, "x-" + "y" * 78 + "-"),
    ],
)
def test_safe_id(name: str, expected: str) -> None:
    assert safe_id(name).startswith(expected)
    assert (safe_id(name) == name) == (name == expected)
    assert safe_id("a.b") != safe_id("a b")
