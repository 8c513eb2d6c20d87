"""Ranges of long videos are fetched alone, and are in them where they are in the whole."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.manifests.records import Fail, Keep, SourceLine, Span
from avipipe.manifests.sources import MAX_RANGES, listed_together
from avipipe.media.decode import iter_pictures, read_audio
from avipipe.media.ffmpeg import run
from avipipe.media.probe import MediaInfo, probe
from avipipe.stages.base import Item
from avipipe.stages.cut import Cut, CutConfig
from avipipe.stages.fetch import Fetch, FetchConfig, of_line
from avipipe.stages.probe import Probe, ProbeConfig
from avipipe.stages.shots import Shots, ShotsConfig
from tests.integration.fetching import Handler, Server, fetch, kept, running

DURATION_S = 150
SIZE = (96, 64)
RATE_HZ = 44_100
LISTED = (Span(30.5, 36.5), Span(101.0, 104.0))
"""Six and three seconds of 150; the key frames before them are up to ten seconds away."""


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No two seconds of it look or sound alike: noise, and a moving pattern with a clock."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    picture = f"testsrc2=s={SIZE[0]}x{SIZE[1]}:r=25:d={DURATION_S}"
    noise = f"anoisesrc=d={DURATION_S}:r={RATE_HZ}:seed=7:a=0.5"
    coded = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "250", "-c:a", "aac")
    inputs = ("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", noise)
    run([*inputs, *coded, str(path)], timeout_s=100)
    return path


def lines(url: str, spans: Sequence[Span] = LISTED) -> list[SourceLine]:
    return [
        SourceLine(n, url, span, f"list.txt:{n}", ranges=tuple(spans))
        for n, span in enumerate(spans)
    ]


def seen_by(outcome: Keep, line: SourceLine, folder: Path) -> Item:
    """What the stages after `fetch` and `probe` see of a line."""
    fetched = of_line(outcome.evidence, line)
    before = Item("x", line, None, {"fetch": fetched}, {"fetch": folder})
    probed = Probe(ProbeConfig()).run(before, folder)
    assert isinstance(probed, Keep)
    return Item("x", line, None, {"fetch": fetched, "probe": probed.evidence}, {"fetch": folder})


def pictures(item: Item, span: Span) -> list[tuple[float, Any]]:
    info = MediaInfo.from_json(item.evidence["probe"])
    path = item.folders["fetch"] / item.evidence["fetch"]["path"]
    found = iter_pictures(
        path, info, start_s=span.start_s, end_s=span.end_s, size=SIZE, pix_fmt="gray"
    )
    return [(time_s, picture_HW.copy()) for time_s, picture_HW in found]


def sound(item: Item, span: Span) -> Any:
    info = MediaInfo.from_json(item.evidence["probe"])
    path = item.folders["fetch"] / item.evidence["fetch"]["path"]
    return read_audio(
        path, info, start_s=span.start_s, end_s=span.end_s, sample_rate_hz=RATE_HZ, mono=True
    )


def assert_same_film(part: Item, whole: Item, span: Span) -> None:
    """The same pictures at the same times, to the millisecond, and the same sound."""
    found, expected = pictures(part, span), pictures(whole, span)
    assert len(found) == len(expected) > 50
    for (time_s, picture_HW), (expected_s, expected_HW) in zip(found, expected, strict=True):
        assert time_s == pytest.approx(expected_s, abs=0.0011)
        assert np.array_equal(picture_HW, expected_HW)
    for second in (0, int(span.duration_s) - 1):
        first, last = second * RATE_HZ + 100, (second + 1) * RATE_HZ - 100
        heard_N, expected_N = sound(part, span)[0], sound(whole, span)[0][first:last]
        likeness = [
            float(np.corrcoef(heard_N[first + lag : last + lag], expected_N)[0, 1])
            for lag in range(-RATE_HZ // 1000, RATE_HZ // 1000 + 1)  # a millisecond
        ]
        assert max(likeness) > 0.99


def fetched(tmp_path: Path, server: Server, path: str) -> tuple[Keep, list[Item], int, Item]:
    """A path's ranges, what each line sees, what was sent for it, what is seen of the whole."""
    url = server.url(path)
    outcome = kept(tmp_path, url, listed=LISTED, timeout_s=5)
    sent_bytes = server.sent_bytes.total()
    whole = kept(tmp_path, url, "whole", LISTED, timeout_s=5, ranges="whole")
    everything = seen_by(whole, SourceLine(0, url, None, "x"), tmp_path / "whole")
    parts = [seen_by(outcome, line, tmp_path / "out") for line in lines(url)]
    return outcome, parts, sent_bytes, everything


def segmented(film: Path, *options: str) -> None:
    run(["-i", str(film), "-map", "0:v", "-map", "0:a", "-c", "copy", *options], timeout_s=60)


def dash(folder: Path, film: Path) -> str:
    options = (
        "-f",
        "dash",
        "-seg_duration",
        "4",
        "-adaptation_sets",
        "id=0,streams=v id=1,streams=a",
    )
    segmented(film, *options, str(folder / "film.mpd"))
    return "film.mpd"


LONG = "n" * 70


def dash_of_long_names(folder: Path, film: Path) -> str:
    """Names of renditions that differ at their ends alone, as they do where they hold tokens."""
    manifest = folder / dash(folder, film)
    text = manifest.read_text()
    for number in "01":
        text = text.replace(
            f'<Representation id="{number}"', f'<Representation id="{LONG}{number}"'
        )
    manifest.write_text(text)
    for path in list(folder.iterdir()):
        for kind in ("init-stream", "chunk-stream"):
            if path.name.startswith(kind):
                number, rest = path.name[len(kind)], path.name[len(kind) + 1 :]
                path.rename(folder / f"{kind}{LONG}{number}{rest}")
    return manifest.name


def hls_ts(folder: Path, film: Path) -> str:
    options: tuple[str, ...] = ("-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod")
    segmented(film, *options, str(folder / "film.m3u8"))
    return "film.m3u8"


def hls_mp3(folder: Path, film: Path) -> str:
    """Its sound is bare MP3, which says nowhere when it is heard."""
    vod = ("-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod")
    run(["-i", str(film), "-an", "-c", "copy", *vod, str(folder / "v.m3u8")], timeout_s=60)
    cut = ("-f", "segment", "-segment_time", "4", "-segment_list", str(folder / "a.m3u8"))
    run(["-i", str(film), "-vn", "-c:a", "libmp3lame", *cut, str(folder / "a%d.mp3")], timeout_s=60)
    sound = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="a.m3u8"'
    picture = '#EXT-X-STREAM-INF:BANDWIDTH=1000000,CODECS="avc1.42c00b,mp4a.40.34",AUDIO="a"'
    (folder / "film.m3u8").write_text("\n".join(["#EXTM3U", sound, picture, "v.m3u8", ""]))
    return "film.m3u8"


def hls_fmp4(folder: Path, film: Path) -> str:
    options: tuple[str, ...] = ("-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod")
    options += ("-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4")
    segmented(film, *options, str(folder / "film.m3u8"))
    return "film.m3u8"


def hls_apart(folder: Path, film: Path) -> str:
    """Picture and sound in playlists of their own, as most sites have them."""
    options: tuple[str, ...] = ("-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod")
    options += ("-var_stream_map", "v:0,agroup:a a:0,agroup:a,default:yes")
    options += ("-master_pl_name", "film.m3u8")
    segmented(film, *options, str(folder / "part%v.m3u8"))
    return "film.m3u8"


def page(folder: Path, film: Path) -> str:
    (folder / "film.mp4").write_bytes(film.read_bytes())
    (folder / "film.html").write_text("<title>Film</title><video src='/film.mp4'></video>")
    return "film.html"


def plain(folder: Path, film: Path) -> str:
    (folder / "film.mp4").write_bytes(film.read_bytes())
    return "film.mp4"


def matroska(folder: Path, film: Path) -> str:
    run(["-i", str(film), "-c", "copy", str(folder / "film.mkv")], timeout_s=60)
    return "film.mkv"


@pytest.mark.parametrize(
    "form", [plain, matroska, page, dash, dash_of_long_names, hls_ts, hls_fmp4, hls_apart]
)
def test_only_the_ranges_are_fetched(
    tmp_path: Path, server: Server, film: Path, form: Callable[[Path, Path], str]
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    name = form(site, film)
    server.serve(site)
    outcome, parts, sent_bytes, whole = fetched(tmp_path, server, f"/{name}")
    assert len(outcome.files) == len(LISTED)
    assert sent_bytes < 0.8 * film.stat().st_size  # of so short a film, key frames are a lot
    assert len({part.evidence["fetch"]["source_id"] for part in parts}) == 1
    for part, span in zip(parts, LISTED, strict=True):
        assert_same_film(part, whole, span)
        assert part.evidence["probe"]["video"]["start_s"] < span.start_s - 2
        assert span.end_s + 2 < part.evidence["probe"]["video"]["end_s"] < span.end_s + 12


def test_clips_are_those_of_the_whole(tmp_path: Path, server: Server, film: Path) -> None:
    """From end to end: the same clips, cut with a certificate."""
    server.files["/film.mp4"] = film.read_bytes()
    _, (part, _), _, whole = fetched(tmp_path, server, "/film.mp4")
    wanted = replace(whole, source=part.source)
    folders = [tmp_path / name for name in ("part_shots", "whole_shots")]
    for folder in folders:
        folder.mkdir()
    children = [clips(*pair) for pair in zip((part, wanted), folders, strict=True)]
    assert children[0] == children[1] != ()
    shots = {"shots": folders[0]}
    clip = replace(part, span=children[0][0], folders={**part.folders, **shots})
    target = tmp_path / "clip"
    target.mkdir()
    cut = Cut(CutConfig(short_side_px=64, preset="ultrafast", crop_bars=False)).run(clip, target)
    assert isinstance(cut, Keep)
    assert abs(cut.evidence["sync"]["av_offset_ms"]) <= 20
    assert abs(cut.evidence["sync"]["video_offset_ms"]) <= 21


def clips(item: Item, folder: Path) -> tuple[Span, ...]:
    outcome = Shots(ShotsConfig()).run(item, folder)
    assert isinstance(outcome, Keep)
    return outcome.children


def test_ranges_that_are_most_of_it_are_one_whole_download(
    tmp_path: Path, server: Server, film: Path
) -> None:
    server.files["/film.mp4"] = film.read_bytes()
    most = (Span(10, 30), Span(50, 65))
    outcome = kept(tmp_path, server.url("/film.mp4"), listed=most)
    assert outcome.files == ("media.mp4",)
    assert outcome.evidence["sha256"] == hashlib.sha256(film.read_bytes()).hexdigest()
    few = kept(tmp_path, server.url("/film.mp4"), "few", LISTED)
    assert few.evidence["source_id"] == outcome.evidence["source_id"]


def test_near_ranges_are_one_file(tmp_path: Path, server: Server, film: Path) -> None:
    server.files["/film.mp4"] = film.read_bytes()
    near = (Span(20, 25), Span(24, 29), Span(33, 36))
    outcome = kept(tmp_path, server.url("/film.mp4"), listed=near)
    assert outcome.files == ("media-00020000.mkv",)
    for line in lines(server.url("/film.mp4"), near):
        assert of_line(outcome.evidence, line)["path"] == "media-00020000.mkv"


def test_a_range_behind_the_end_fails_alone(tmp_path: Path, server: Server, film: Path) -> None:
    server.files["/film.mp4"] = film.read_bytes()
    url = server.url("/film.mp4")
    listed = (Span(20, 25), Span(147, 160), Span(200, 205))
    outcome = kept(tmp_path, url, listed=listed)
    first, last, outside = lines(url, listed)
    assert seen_by(outcome, first, tmp_path / "out").evidence["probe"]["video"]["end_s"] > 25
    assert seen_by(outcome, last, tmp_path / "out").evidence["probe"]["video"]["end_s"] == 150
    with pytest.raises(MediaError, match=r"within the video's 150\.000 s, found 200") as caught:
        seen_by(outcome, outside, tmp_path / "out")
    assert caught.value.kind is FailKind.RANGE_OUTSIDE


def test_ranges_at_the_very_start(tmp_path: Path, server: Server, film: Path) -> None:
    server.files["/film.mp4"] = film.read_bytes()
    url, spans = server.url("/film.mp4"), (Span(0, 6),)
    outcome = kept(tmp_path, url, listed=spans)
    whole = kept(tmp_path, url, "whole", spans, ranges="whole")
    part = seen_by(outcome, lines(url, spans)[0], tmp_path / "out")
    everything = seen_by(whole, SourceLine(0, url, None, "x"), tmp_path / "whole")
    assert part.evidence["probe"]["video"]["start_s"] == 0
    assert_same_film(part, everything, spans[0])


def whole_only(handler: Handler) -> None:
    handler.answer(200, handler.server.files["/film.mp4"])


def other_ranges(handler: Handler) -> None:
    """Always the beginning of the file, whatever is asked for."""
    body = handler.server.files["/film.mp4"]
    if "Range" not in handler.headers:
        return handler.answer(200, body)
    span = {"Content-Range": f"bytes 0-65535/{len(body)}"}
    handler.answer(206, body[:65536], span)


def changing(handler: Handler) -> None:
    """Another version with each request."""
    body = handler.server.files["/film.mp4"]
    if "Range" not in handler.headers:
        return handler.answer(200, body)
    first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
    last = min(last, len(body) - 1)
    tag = f'"{len(handler.server.requests)}"'
    span = {"Content-Range": f"bytes {first}-{last}/{len(body)}", "ETag": tag}
    handler.answer(206, body[first : last + 1], span)


@pytest.mark.parametrize("reply", [whole_only, other_ranges, changing])
@pytest.mark.parametrize("path", ["/film.mp4", "/film.html"])
def test_what_cannot_be_had_in_parts_is_had_whole(
    tmp_path: Path, server: Server, film: Path, path: str, reply: Callable[[Handler], None]
) -> None:
    server.files["/film.mp4"] = film.read_bytes()
    server.files["/film.html"] = b"<title>Film</title><video src='/film.mp4'></video>"
    server.replies["/film.mp4"] = reply
    outcome = kept(tmp_path, server.url(path), listed=LISTED, timeout_s=5)
    assert outcome.files == ("media.mp4",)
    assert outcome.evidence["sha256"] == hashlib.sha256(film.read_bytes()).hexdigest()


def test_sound_without_a_clock_is_had_whole(tmp_path: Path, server: Server, film: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    name = hls_mp3(site, film)
    server.serve(site)
    outcome = kept(tmp_path, server.url(f"/{name}"), listed=LISTED, timeout_s=5)
    assert "parts" not in outcome.evidence
    assert probe(tmp_path / "out" / outcome.files[0]).duration_s > DURATION_S - 1


@pytest.mark.parametrize("path", ["/film.mp4", "/film.html"])
def test_ranges_may_not_be_too_large_either(
    tmp_path: Path, server: Server, film: Path, path: str
) -> None:
    server.files["/film.mp4"] = film.read_bytes()
    server.files["/film.html"] = b"<title>Film</title><video src='/film.mp4'></video>"
    outcome, _ = fetch(tmp_path, server.url(path), "out", LISTED, timeout_s=5, max_gb=1e-4)
    assert isinstance(outcome, Fail)
    assert outcome.kind is FailKind.TOO_LARGE


@pytest.mark.parametrize(
    ("tag", "instead"),
    [
        ("#EXT-X-ENDLIST", "#EXT-X-DISCONTINUITY\n#EXT-X-ENDLIST"),  # its times may jump
        (".ts", ".ts\n#UPLYNK-AD"),  # advertisements stand between
    ],
)
def test_a_playlist_without_one_timeline_is_had_whole(
    tmp_path: Path, server: Server, film: Path, tag: str, instead: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    hls_ts(site, film)
    playlist = site / "film.m3u8"
    playlist.write_text(playlist.read_text().replace(tag, instead))
    server.serve(site)
    outcome = kept(tmp_path, server.url("/film.m3u8"), listed=LISTED, timeout_s=5)
    assert outcome.files == ("media.mp4",)


def test_a_break_off_is_tried_again(tmp_path: Path, server: Server, film: Path) -> None:
    body = film.read_bytes()

    def broken_at_first(handler: Handler) -> None:
        if len(server.requests) == 3:
            handler.answer(503, b"")
        else:
            handler.give(body, handler.headers["Range"])

    server.replies["/film.mp4"] = broken_at_first
    outcome = kept(tmp_path, server.url("/film.mp4"), listed=LISTED)
    assert len(outcome.files) == 2


def test_the_key_names_what_is_fetched() -> None:
    url = "https://host.org/film.mp4"
    stage = Fetch(FetchConfig())
    first, second = lines(url)
    assert stage.subject(first) == stage.subject(second) != url
    assert stage.subject(SourceLine(0, url, None, "x")) == url
    assert Fetch(FetchConfig(ranges="whole")).subject(first) == url


def test_lines_of_one_url_know_each_other() -> None:
    url, other = "https://host.org/film.mp4", "https://host.org/other.mp4"

    def line(uri: str, span: Span | None) -> SourceLine:
        return SourceLine(0, uri, span, "x")

    listed = [line(url, LISTED[1]), line(url, LISTED[0]), line(other, LISTED[0])]
    listed += [line(other, None), line("/a.mp4", LISTED[0])]
    ranges = [line.ranges for line in listed_together(listed)]
    assert ranges == [LISTED, LISTED, (), (), ()]
    assert [line.ranges for line in listed_together(listed, [line(url, None)])] == [()] * 5
    parted = listed_together(listed[:2])
    (later,) = listed_together([line(url, None)], parted)
    assert later.ranges == LISTED, "all that is fetched of a URL has one id"
    assert Fetch(FetchConfig()).subject(later) == url, "and it is fetched whole"
    many = [line(url, Span(n, n + 0.5)) for n in range(MAX_RANGES + 1)]
    assert {line.ranges for line in listed_together(many)} == {()}
