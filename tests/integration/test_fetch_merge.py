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
from tests.integration.fetching import Server, kept, running
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
    print(form.__name__, info.start_s, info.video.start_s, info.audio.start_s, found)
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
