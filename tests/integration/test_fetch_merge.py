"""Picture and sound that are downloaded apart come together as far apart as they were."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from avipipe.errors import FailKind, MediaError
from avipipe.manifests.records import Keep, SourceLine
from avipipe.media import remux
from avipipe.media.ffmpeg import run
from avipipe.media.probe import MediaInfo
from avipipe.stages.base import Item
from avipipe.stages.probe import Probe, ProbeConfig
from tests.integration.fetching import Server, failed, kept, running
from tests.integration.lavfi import EVENTS_S, onsets, write

SHARED = Path(__file__).parents[3] / "shared" / "odd"
FRAME_S = 1 / 25


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def mpd(folder: Path, *, video: str, audio: str) -> None:
    """A manifest that names two files, each whole."""
    adaptations = (
        f'<AdaptationSet mimeType="video/mp4"><Representation id="v" codecs="avc1.42c00d" '
        f'width="160" height="120" bandwidth="300000"><BaseURL>{video}</BaseURL></Representation>'
        f'</AdaptationSet><AdaptationSet mimeType="audio/mp4"><Representation id="a" '
        f'codecs="mp4a.40.2" bandwidth="70000"><BaseURL>{audio}</BaseURL></Representation>'
        f"</AdaptationSet>"
    )
    (folder / "film.mpd").write_text(
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        f'mediaPresentationDuration="PT5S"><Period>{adaptations}</Period></MPD>'
    )


def alone(source: Path, target: Path, stream: str, *options: str) -> None:
    run(
        ["-copyts", "-i", str(source), "-map", f"0:{stream}", "-c", "copy", *options, str(target)],
        timeout_s=60,
    )


def whole_files(folder: Path, film: Path) -> str:
    """On-demand DASH: fragmented MP4."""
    fragments = ("-movflags", "+frag_keyframe+delay_moov+default_base_moof", "-copyts")
    alone(film, folder / "v.mp4", "v", *fragments)
    alone(film, folder / "a.m4a", "a", *fragments)
    mpd(folder, video="v.mp4", audio="a.m4a")
    return "film.mpd"


def plain_files(folder: Path, film: Path) -> str:
    alone(film, folder / "v.mp4", "v")
    alone(film, folder / "a.m4a", "a")
    mpd(folder, video="v.mp4", audio="a.m4a")
    return "film.mpd"


def segments(folder: Path, film: Path) -> str:
    sets = ("-adaptation_sets", "id=0,streams=v id=1,streams=a", "-seg_duration", "1")
    target = folder / "film.mpd"
    run(
        [
            "-copyts",
            "-i",
            str(film),
            "-map",
            "0:v",
            "-map",
            "0:a",
            "-c",
            "copy",
            "-f",
            "dash",
            *sets,
            str(target),
        ],
        timeout_s=60,
    )
    return "film.mpd"


@pytest.mark.parametrize("form", [whole_files, plain_files, segments])
@pytest.mark.parametrize(("video_s", "audio_s"), [(0.6, 0.0), (0.0, 0.35), (0.0, 0.0)])
def test_an_offset_survives(
    tmp_path: Path,
    server: Server,
    form: Callable[[Path, Path], str],
    video_s: float,
    audio_s: float,
) -> None:
    film = write(
        tmp_path / "film.mkv",
        video_offset_s=video_s,
        audio_offset_s=audio_s,
        options=("-c:a", "aac", "-bf", "2"),
    )
    site = tmp_path / "site"
    site.mkdir()
    name = form(site, film)
    server.serve(site)
    info, path = fetched(tmp_path, server.url(f"/{name}"))
    found = onsets(path, info=info, fps=Fraction(25))
    assert found.flashes_s == pytest.approx([event + video_s for event in EVENTS_S], abs=FRAME_S)
    assert found.beeps_s == pytest.approx([event + audio_s for event in EVENTS_S], abs=0.01)


def fetched(tmp_path: Path, url: str) -> tuple[MediaInfo, Path]:
    outcome = kept(tmp_path, url, timeout_s=5)
    assert outcome.files == ("media.mkv",)
    evidence = {"fetch": outcome.evidence}
    item = Item("x", SourceLine(0, url, None, "x"), None, evidence, {"fetch": tmp_path / "out"})
    probed = Probe(ProbeConfig()).run(item, tmp_path)
    assert isinstance(probed, Keep)
    return MediaInfo.from_json(probed.evidence), tmp_path / "out" / "media.mkv"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no files in {SHARED}")
def test_the_reported_film(tmp_path: Path, server: Server) -> None:
    """Its picture begins 0.6 s after its sound."""
    server.files["/man.mpd"] = (SHARED / "man.mpd").read_bytes()
    server.files["/v.mp4"] = (SHARED / "dash_video_starts_0.6s.mp4").read_bytes()
    server.files["/a.m4a"] = (SHARED / "dash_audio.m4a").read_bytes()
    info, _ = fetched(tmp_path, server.url("/man.mpd"))
    assert (info.video.start_s, info.audio.start_s) == pytest.approx((0.6, 0.0), abs=0.001)


def id3_clock(ticks: int) -> bytes:
    """The tag with which bare sound begins in HLS: when that is, in ticks of 90 kHz."""
    name = b"com.apple.streaming.transportStreamTimestamp\0"
    frame = name + ticks.to_bytes(8, "big")
    body = b"PRIV" + len(frame).to_bytes(4, "big") + b"\0\0" + frame
    size = len(body)
    return b"ID3\x04\0\0" + bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0)) + body


@pytest.mark.parametrize("clock_s", [10.0, 10.35, None])
def test_bare_sound_of_hls_is_on_the_clock_of_its_tag(
    tmp_path: Path, clock_s: float | None
) -> None:
    """The picture begins at 10 s; without a tag both begin together."""
    film = write(tmp_path / "film.mkv", options=("-c:a", "aac"))
    picture, sound = tmp_path / "v.ts", tmp_path / "a.aac"
    run(
        [
            "-i",
            str(film),
            "-map",
            "0:v",
            "-c",
            "copy",
            "-muxdelay",
            "0",
            "-muxpreload",
            "0",
            "-output_ts_offset",
            "10",
            str(picture),
        ],
        timeout_s=60,
    )
    alone(film, sound, "a", "-f", "adts")
    if clock_s is not None:
        sound.write_bytes(id3_clock(round(clock_s * 90_000)) + sound.read_bytes())
    target = tmp_path / "media.mkv"
    begin_s = remux.merge(picture, sound, target, one_clock=True)
    found = onsets(target, fps=Fraction(25))
    late_s = (clock_s or 10.0) - 10.0
    apart_s = [beep - flash for flash, beep in zip(found.flashes_s, found.beeps_s, strict=True)]
    assert begin_s == pytest.approx(10.0, abs=0.002)
    # The bare sound has lost what said that its first 1024 samples are the encoder's run-in.
    assert apart_s == pytest.approx([late_s + 1024 / 44_100] * 3, abs=0.003)


def test_parts_without_a_common_clock_begin_together(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mkv", options=("-c:a", "aac"))
    picture, sound = tmp_path / "v.ts", tmp_path / "a.m4a"
    run(["-i", str(film), "-map", "0:v", "-c", "copy", str(picture)], timeout_s=60)
    run(["-i", str(film), "-map", "0:a", "-c", "copy", str(sound)], timeout_s=60)
    target = tmp_path / "media.mkv"
    remux.merge(picture, sound, target, one_clock=False)
    found = onsets(target, fps=Fraction(25))
    assert found.beeps_s == pytest.approx(found.flashes_s, abs=FRAME_S)


def test_a_file_that_is_not_as_its_parts_is_refused(tmp_path: Path) -> None:
    """What proves a merge sees a sound that has moved by 5 ms, and a packet that is missing."""
    film = write(tmp_path / "film.mkv", options=("-c:a", "aac"))
    moved = tmp_path / "moved.mkv"
    run(
        [
            "-i",
            str(film),
            "-itsoffset",
            "0.005",
            "-i",
            str(film),
            "-map",
            "0:v",
            "-map",
            "1:a",
            "-c",
            "copy",
            str(moved),
        ],
        timeout_s=60,
    )
    with av.open(str(film)) as container:
        times: list[list[Fraction]] = [[], []]
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                times[packet.stream_index].append(packet.pts * packet.time_base)
    assert remux.certified_shift(film, times) == 0
    with pytest.raises(MediaError, match=r"5\.0 ms off") as caught:
        remux.certified_shift(moved, times)
    assert caught.value.kind is FailKind.OUT_OF_SYNC
    with pytest.raises(MediaError, match="packets of each stream") as caught:
        remux.certified_shift(film, [times[0], times[1][1:]])
    assert caught.value.kind is FailKind.OUT_OF_SYNC


def test_a_part_whose_times_start_anew_fails_by_name(tmp_path: Path, server: Server) -> None:
    """Two transport streams in one file: nothing says where the second belongs."""
    film = write(tmp_path / "film.mkv", options=("-c:a", "aac"))
    once = tmp_path / "v.ts"
    run(["-i", str(film), "-map", "0:v", "-c", "copy", str(once)], timeout_s=60)
    server.files["/v.mp4"] = once.read_bytes() * 2
    alone(film, tmp_path / "a.m4a", "a")
    server.files["/a.m4a"] = (tmp_path / "a.m4a").read_bytes()
    mpd(tmp_path, video="v.mp4", audio="a.m4a")
    server.files["/film.mpd"] = (tmp_path / "film.mpd").read_bytes()
    assert failed(tmp_path, server.url("/film.mpd"), timeout_s=5).kind is FailKind.CORRUPT


def test_a_part_that_is_no_media_fails_by_name(tmp_path: Path, server: Server) -> None:
    film = write(tmp_path / "film.mkv", options=("-c:a", "aac"))
    site = tmp_path / "site"
    site.mkdir()
    server.files["/film.mpd"] = (site / plain_files(site, film)).read_bytes()
    server.files["/v.mp4"] = b"<html>no film</html>" * 100
    server.files["/a.m4a"] = (site / "a.m4a").read_bytes()
    assert failed(tmp_path, server.url("/film.mpd"), timeout_s=5).kind is FailKind.NOT_MEDIA
