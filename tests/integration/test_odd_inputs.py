"""Small files in forms that were reported elsewhere: clips hold what ffmpeg shows of them.

They are third-party forms that are no part of this repository; without them this is skipped. Their
pictures carry no numbers: what is right is what the ffmpeg command line decodes without a seek.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.reformatter import Colorspace
from scipy.signal import correlate

from avipipe.errors import ManifestError
from avipipe.manifests.records import Keep, Span
from avipipe.manifests.sources import read_sources
from avipipe.media.ffmpeg import run
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME
from avipipe.stages.base import Item
from avipipe.stages.cut import Cut
from tests.containers.dash_cases import fetched, served
from tests.containers.judge import FPS, sound_of, time_of
from tests.containers.signals import RATE_HZ, Wave
from tests.containers.trial import MAX_UNLAID_S, QUICK, Read, read_source

ODD = Path(__file__).parents[3] / "shared" / "odd"
if not ODD.exists():
    pytest.skip(f"the odd inputs are not at {ODD}", allow_module_level=True)

_SIZE = (40, 30)
_MAX_UNLIKE = 6.0
"""Mean difference of grey levels that two encodes of one picture, and another scaler, may have."""

Pictures = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """What ffmpeg makes of a whole file, in source time: when, what, and the sound from time 0."""

    times_s: npt.NDArray[np.float64]
    pictures_TP: Pictures
    wave_N: Wave


def shown(folder: Path, *inputs: Path, keeps_gaps: bool = False) -> Shown:
    """Decode the pictures of the first input and the sound of the last, without a seek."""
    whole = folder / "reference.nut"
    args = ["-copyts"] if keeps_gaps else []
    if keeps_gaps and len(inputs) == 1:
        args.append("-start_at_zero")  # of several, it would move each to its own
    for path in inputs:
        args += ["-i", str(path)]
    args += ["-map", "0:v:0", "-map", f"{len(inputs) - 1}:a:0", "-fps_mode", "passthrough"]
    args += ["-enc_time_base:v", "1:90000", "-c:v", "rawvideo", "-ac", "1", "-c:a", "pcm_s16le"]
    args += ["-vf", f"scale={_SIZE[0]}:{_SIZE[1]}:flags=area,format=rgb24"]
    args += ["-af", f"aresample={RATE_HZ}:async=1:min_hard_comp=0.02:first_pts=0"]
    run([*args, "-avoid_negative_ts", "disabled", "-f", "nut", str(whole)], timeout_s=120)
    times_s, pictures = _pictures(whole)
    return Shown(times_s, pictures, sound_of(whole)[0])


def _pictures(path: Path) -> tuple[npt.NDArray[np.float64], Pictures]:
    times_s, pictures = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            times_s.append(float(time_of(frame)))
            # The mean of red, green and blue: luma is another in each matrix, and clips are BT.709.
            matrix = Colorspace.ITU709 if frame.colorspace == 1 else Colorspace.ITU601
            small = frame.reformat(
                *_SIZE, format="rgb24", src_colorspace=matrix, interpolation="AREA"
            ).to_ndarray()
            pictures.append(small.mean(axis=2).ravel())
    return np.array(times_s), np.stack(pictures)


def cut(source: Read, folder: Path, start_s: float, end_s: float) -> None:
    assert source.failure is None, f"{source.failure}: {source.message}"
    item = Item("clip", source.line, Span(start_s, end_s), source.evidence, source.folders)
    assert isinstance(Cut(QUICK).run(item, folder), Keep)


def assert_same(
    reference: Shown, folder: Path, start_s: float, end_s: float, *, slack_ms: float = 10
) -> None:
    """Each picture is one of three around the one on screen; the sound is as near as `slack_ms`."""
    times_s, pictures_TP = _pictures(folder / VIDEO_NAME)
    assert len(times_s) == round((end_s - start_s) * FPS)
    on_screen = np.searchsorted(reference.times_s, start_s + (np.arange(len(times_s)) + 0.5) / FPS)
    unlike = []
    for picture_P, index in zip(pictures_TP, on_screen - 1, strict=True):
        near_KP = reference.pictures_TP[max(index - 1, 0) : index + 2]
        unlike.append(np.abs(near_KP - picture_P).mean(axis=1).min())
    assert max(unlike) < _MAX_UNLIKE
    wave_N, _ = sound_of(folder / AUDIO_NAME)
    first = round(start_s * RATE_HZ)
    expected_N = np.zeros(len(wave_N))
    piece = reference.wave_N[first : first + len(wave_N)]
    expected_N[: len(piece)] = piece
    assert _lateness_ms(wave_N, expected_N) <= slack_ms


def _lateness_ms(wave_N: Wave, expected_N: Wave) -> float:
    """The largest shift of any half second that holds sound.

    Half a second, as these hold tones, whose position a shorter piece does not tell.
    """
    size, reach = RATE_HZ // 2, RATE_HZ // 4
    found_ms = [0.0]
    for at in range(reach, len(wave_N) - size - reach + 1, reach):
        window, around = wave_N[at : at + size], expected_N[at - reach : at + size + reach]
        assert np.std(window) > 0.3 * np.std(expected_N[at : at + size]), f"silence at {at}"
        if np.std(window) > 1e-3:
            products = correlate(around, window, mode="valid", method="fft")
            energies = correlate(around**2, np.ones(size), mode="valid", method="fft")
            likeness = products / np.sqrt(np.maximum(energies, 1e-6 * energies.max()))
            # A steady tone fits at each of its periods: the nearest counts.
            lags = np.flatnonzero(likeness > 0.998 * likeness.max()) - reach
            found_ms.append(float(np.abs(lags).min()) / RATE_HZ * 1000)
    return max(found_ms)


@pytest.mark.parametrize(
    ("name", "start_s", "end_s"),
    [
        ("first_gop_lost.flv", 0.021, 6.021),
        ("grey.avi", 0.04, 6.04),
        ("mjpeg_later_clips.avi", 2.0, 5.0),
        ("flac_block_44k1.mp4", 2.6, 4.6),
        ("resized_midway.webm", 0.0, 6.0),
        ("jump_40s.ts", 46.1, 49.9),
        ("trimmed_by_copy.mp4", 0.0, 6.0),
    ],
)
def test_the_clip_is_what_ffmpeg_shows(
    name: str, start_s: float, end_s: float, tmp_path: Path
) -> None:
    source = read_source(ODD / name, tmp_path / "read")
    cut(source, tmp_path, start_s, end_s)
    reference = shown(tmp_path, ODD / name, keeps_gaps=name == "jump_40s.ts")
    assert_same(reference, tmp_path, start_s, end_s)


def test_a_file_cut_by_copy_is_laid_out_whole(tmp_path: Path) -> None:
    source = read_source(ODD / "trimmed_by_copy.mp4", tmp_path)
    assert source.failure is None, f"{source.failure}: {source.message}"
    assert sum(span.duration_s for span in source.spans) == pytest.approx(6, abs=0.2)


def test_a_restarted_clock_loses_no_second_in_silence(tmp_path: Path) -> None:
    source = read_source(ODD / "pts_restart.ts", tmp_path / "read")
    if source.failure is not None:
        assert not source.failure.startswith("crash")
        assert re.search(r"\d s\b", source.message), source.message
        return
    assert sum(span.duration_s for span in source.spans) == pytest.approx(8, abs=MAX_UNLAID_S)
    reference = shown(tmp_path, ODD / "pts_restart.ts")
    for n, span in enumerate(source.spans):
        folder = tmp_path / f"clip_{n}"
        folder.mkdir()
        cut(source, folder, span.start_s, span.end_s)
        # Where a restarted part lies is not certain to a picture: ffmpeg lays it end to end with
        # the sound. That its sound and pictures stay together is tested with the containers.
        assert_same(reference, folder, span.start_s, span.end_s, slack_ms=40)


def test_what_is_downloaded_apart_stays_apart(tmp_path: Path) -> None:
    """The video begins 0.6 s behind the sound."""
    web = tmp_path / "web"
    web.mkdir()
    for name, served_as in (("man.mpd", "man.mpd"), ("dash_video_starts_0.6s.mp4", "v.mp4")):
        shutil.copy(ODD / name, web / served_as)
    shutil.copy(ODD / "dash_audio.m4a", web / "a.m4a")
    with served(web) as address:
        path = fetched(f"{address}/man.mpd", tmp_path / "fetched")
    source = read_source(path, tmp_path / "read")
    start_s = round(source.evidence["probe"]["video"]["start_s"], 3)
    assert start_s == pytest.approx(0.6, abs=0.03)
    cut(source, tmp_path, start_s, start_s + 5)
    reference = shown(tmp_path, web / "v.mp4", web / "a.m4a", keeps_gaps=True)
    assert_same(reference, tmp_path, start_s, start_s + 5)


def test_lines_that_end_in_cr_are_lines(tmp_path: Path) -> None:
    path = Path(shutil.copy(ODD / "cr_only.txt", tmp_path))
    lines = read_sources(path).lines
    assert [Path(line.uri).name for line in lines] == ["a.mp4", "b.mp4"]
    assert lines[0].span == Span(1, 2)


@pytest.mark.parametrize("name", ["bigint.jsonl", "surr.jsonl"])
def test_a_line_beyond_reason_is_named(name: str, tmp_path: Path) -> None:
    """It fails alone, with a name that can be written; or the list is refused with its place."""
    path = Path(shutil.copy(ODD / name, tmp_path))
    refusal, uris = "", []
    try:
        uris = [line.uri for line in read_sources(path).lines]
    except ManifestError as error:
        refusal = str(error)
    assert f"{name}:1" in refusal or len(uris) == 1
    assert "".join(uris).encode("utf-8", errors="strict") or refusal
