"""The judge of clips sees what is wrong with them, and the makers' truth is ffmpeg's."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from avipipe.media.ffmpeg import run
from avipipe.media.normalize import AUDIO_NAME, VIDEO_NAME
from tests.containers.cases import Source, plain
from tests.containers.dash_cases import DASH
from tests.containers.encode import FLAC, H264
from tests.containers.judge import Verdict, judge, settled, sound_errors_ms
from tests.containers.reference import Decoded, decode_whole
from tests.containers.signals import RATE_HZ, best_match, draw, place_in_track_s, read, track
from tests.containers.table import FILES
from tests.containers.truth import Truth

START_S, END_S = 2.0, 4.5
CODERS = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-bf", "0", "-c:a", "aac")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return plain("mkv", [*H264, *FLAC], rate_hz=48_000)(tmp_path_factory.mktemp("source"))


def cut(
    source: Source,
    folder: Path,
    *,
    pictures_late_s: float = 0.0,
    sound_late_s: float = 0.0,
    players_late_s: float = 0.0,
    picture: str = "null",
    sound: str = "anull",
) -> Verdict:
    """Cut by hand, without a seek, late or spoilt by filters; then judge."""
    video, audio = folder / VIDEO_NAME, folder / AUDIO_NAME
    begin_s = START_S - pictures_late_s
    # The picture on screen in the middle of each frame.
    shown = f"fps=24:start_time={begin_s}:round=near,trim=start={begin_s},setpts=PTS-STARTPTS"
    graph = f"[0:v]{shown},trim=end_frame=60,{picture}[v];[0:a]asplit[a0][a1]"
    for label, late_s in (("a0", sound_late_s), ("a1", players_late_s)):
        heard = f"atrim={START_S - late_s}:{END_S - late_s},asetpts=PTS-STARTPTS"
        graph += f";[{label}]{heard},{sound if label == 'a0' else 'anull'}[{label}x]"
    args = ["-i", str(source.path), "-filter_complex", graph, "-map", "[v]", "-map", "[a1x]"]
    run([*args, *CODERS, str(video), "-map", "[a0x]", str(audio)], timeout_s=60)
    return judge(source.truth, start_s=START_S, end_s=END_S, video=video, audio=audio)


def test_a_right_clip_is_right(source: Source, tmp_path: Path) -> None:
    verdict = cut(source, tmp_path)
    assert verdict.is_right
    assert verdict.picture_error == 0
    assert verdict.sound_error_ms < 0.1
    assert (verdict.num_pictures, verdict.num_samples) == (60, 120_000)


@pytest.mark.parametrize("num_pictures", [1, 2])
def test_a_shift_of_the_pictures_is_seen(source: Source, tmp_path: Path, num_pictures: int) -> None:
    verdict = cut(source, tmp_path, pictures_late_s=num_pictures / 25)
    assert verdict.picture_error == num_pictures
    assert verdict.sound_error_ms < 0.1
    assert verdict.is_right == (num_pictures == 1)


@pytest.mark.parametrize("late_ms", [-20, 4, 20, 300, -1500])
def test_a_shift_of_the_sound_is_measured(source: Source, tmp_path: Path, late_ms: int) -> None:
    verdict = cut(source, tmp_path, sound_late_s=late_ms / 1000)
    assert verdict.sound_error_ms == pytest.approx(abs(late_ms), abs=0.1)
    assert verdict.is_right == (late_ms == 4)
    assert verdict.picture_error == 0


def test_a_shift_of_the_sound_for_players_is_measured(source: Source, tmp_path: Path) -> None:
    verdict = cut(source, tmp_path, players_late_s=0.02)
    assert verdict.sound_error_ms == pytest.approx(20, abs=0.1)


def test_a_frozen_picture_is_seen(source: Source, tmp_path: Path) -> None:
    """The last four pictures stand still."""
    verdict = cut(source, tmp_path, picture="trim=end_frame=56,tpad=stop=4:stop_mode=clone")
    assert verdict.picture_error == 4
    assert verdict.num_wrong == 3


def test_grey_pictures_are_seen(source: Source, tmp_path: Path) -> None:
    grey = "drawbox=t=fill:color=gray:enable='between(n,10,12)'"
    verdict = cut(source, tmp_path, picture=grey)
    assert math.isinf(verdict.picture_error)
    assert verdict.num_wrong == 3


def test_a_blend_of_pictures_is_seen(source: Source, tmp_path: Path) -> None:
    verdict = cut(source, tmp_path, picture="tmix=frames=2")
    assert math.isinf(verdict.picture_error)


def test_mirrored_pictures_are_seen(source: Source, tmp_path: Path) -> None:
    assert cut(source, tmp_path, picture="hflip").num_wrong == 60


@pytest.mark.parametrize("silent_ms", [25, 200])
def test_silence_is_seen(source: Source, tmp_path: Path, silent_ms: int) -> None:
    silence = f"asetnsamples=240,volume=0:enable='between(t,1,{1 + silent_ms / 1000})'"
    verdict = cut(source, tmp_path, sound=silence)
    assert math.isinf(verdict.sound_error_ms)
    assert verdict.num_wrong >= silent_ms / 50


def test_sound_where_there_is_none_is_seen(source: Source, tmp_path: Path) -> None:
    part = source.truth.parts[0]
    deaf = Source(source.path, Truth((replace(part, sounds=()),)))
    assert math.isinf(cut(deaf, tmp_path).sound_error_ms)


def test_a_missing_picture_is_seen(source: Source, tmp_path: Path) -> None:
    verdict = cut(source, tmp_path, picture="trim=end_frame=59")
    assert (verdict.num_pictures, verdict.is_complete) == (59, False)


def test_a_missing_sample_is_seen(source: Source, tmp_path: Path) -> None:
    verdict = cut(source, tmp_path, sound="atrim=end_sample=119999")
    assert (verdict.num_samples, verdict.is_complete) == (119_999, False)


def test_all_numbers_are_read_back_from_small_and_blurred_pictures() -> None:
    for size, step in (((64, 48), 3), ((1280, 720), 101)):
        for number in range(0, 1 << 12, step):
            picture = cv2.resize(draw(number), size, interpolation=cv2.INTER_NEAREST)
            assert read(np.asarray(cv2.GaussianBlur(picture, (0, 0), size[0] / 100))) == number


def test_a_place_in_the_track_is_found_to_a_fraction_of_a_sample() -> None:
    window = track()[30_000:34_800]
    assert place_in_track_s(window) == pytest.approx(30_000 / RATE_HZ, abs=1e-4)
    assert best_match(window, track()[29_000:40_000]) == pytest.approx(1000, abs=1e-3)
    noise = np.random.default_rng(0).standard_normal(4800)
    assert place_in_track_s(noise) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FILES if name not in DASH])
def test_the_makers_and_ffmpeg_agree(name: str, tmp_path: Path) -> None:
    """Each picture is where ffmpeg shows it, without a seek, and so is the sound."""
    source = FILES[name](tmp_path)
    whole = decode_whole(source.path, tmp_path)
    assert whole is not None
    assert min(disagreement(truth, whole) for truth in (source.truth, *source.others)) <= 10


def disagreement(truth: Truth, whole: Decoded) -> float:
    """Largest error of the sound in ms; infinite where pictures are not where they should be."""
    truth = Truth(tuple(settled(part, 0.0, whole.wave_N) for part in truth.parts))
    errors = [
        abs(truth.numbers.index(number) - truth.index_at(time_s + 1e-3))
        for number, time_s in zip(whole.numbers, whole.times_s, strict=True)
        if number in truth.numbers
    ]
    if len(errors) < 0.99 * len(truth.numbers) or max(errors) > 1:
        return math.inf
    return max(sound_errors_ms(truth, 0.0, whole.wave_N))
