"""PE-AV and CLAP, tiny and random, through the loaders of a build."""

import pickle
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ClapModel, ClapProcessor, PeAudioVideoModel

from avipipe.annotators.base import Frames, Wave
from avipipe.annotators.full.match import ClapMatcher, PeAvMatcher
from avipipe.errors import AnnotatorError, FailKind, WeightsError
from tests.models.locked import lock
from tests.models.tiny_matchers import SIDE_PX, write_clap, write_pe_av

RATE_HZ = 48_000
NAMES = ["dog", "car", "violin", "dog", "drum", "whale"]


def load(matcher: Any, folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, folder, matcher.name)
        matcher.setup()
    return matcher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_pe_av(folder / "pe_av")
    write_clap(folder / "clap")
    return folder


@pytest.fixture(scope="module")
def pe_av(folder: Path) -> Any:
    return load(PeAvMatcher(), folder)


@pytest.fixture(scope="module")
def clap(folder: Path) -> Any:
    return load(ClapMatcher(), folder)


@pytest.fixture(scope="module", params=["pe_av", "clap"])
def matcher(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def crops() -> list[Frames]:
    """As many as there are names, of all sizes and lengths."""
    rng = np.random.default_rng(0)
    sizes = [(24, 40, 50), (16, SIDE_PX, SIDE_PX), (3, 9, 70), (1, 1, 1), (30, 64, 20), (17, 8, 8)]
    return [
        rng.integers(60 * k, 60 * k + 60 - 10 * k, (*size, 3)).clip(0, 255).astype(np.uint8)
        for k, size in enumerate(sizes)
    ]


def sound(duration_s: float = 1.0) -> Wave:
    rng = np.random.default_rng(1)
    return (0.1 * rng.standard_normal(round(duration_s * RATE_HZ))).astype(np.float32)


def match(
    matcher: Any, crops: list[Frames], labels: list[str], wav_N: Wave, rate_hz: int = RATE_HZ
) -> list[float | None]:
    found: list[float | None] = matcher.match(
        crops, labels=labels, fps=Fraction(24), wav_N=wav_N, sample_rate_hz=rate_hz
    )
    return found


def test_each_crop_is_compared_alone(matcher: Any) -> None:
    found = match(matcher, crops(), NAMES, sound())
    assert all(value is not None and -1.0 <= value <= 1.0 for value in found)
    assert len({round(value, 4) for value in found if value is not None}) >= 5
    alone = [
        match(matcher, [crop], [name], sound())[0]
        for crop, name in zip(crops(), NAMES, strict=True)
    ]
    assert found == pytest.approx(alone, abs=1e-5)


def test_the_same_gives_the_same_in_any_worker(matcher: Any, folder: Path) -> None:
    first = match(matcher, crops(), NAMES, sound(0.3), 44_100)
    worker = load(pickle.loads(pickle.dumps(type(matcher)())), folder)
    assert match(worker, crops(), NAMES, sound(0.3), 44_100) == first


def test_pe_av_compares_what_the_whole_model_embeds(pe_av: Any, folder: Path) -> None:
    model: Any = PeAudioVideoModel.from_pretrained(folder / "pe_av")
    model.eval()
    crop = crops()[1]
    pixels_TCHW = torch.from_numpy(crop).permute(0, 3, 1, 2) / 127.5 - 1.0
    with torch.inference_mode():
        official = model(
            input_values=torch.from_numpy(sound())[None, None],
            pixel_values_videos=pixels_TCHW[None],
        )
        cosine = torch.cosine_similarity(official.audio_embeds, official.video_embeds)
    assert match(pe_av, [crop], ["dog"], sound()) == pytest.approx(cosine.tolist(), abs=1e-4)


def test_clap_compares_what_the_whole_model_embeds(clap: Any, folder: Path) -> None:
    model: Any = ClapModel.from_pretrained(folder / "clap")
    model.eval()
    processor = ClapProcessor.from_pretrained(folder / "clap")
    inputs = processor(
        text=["the sound of a dog", "the sound of a violin"],
        audio=sound(),
        sampling_rate=RATE_HZ,
        padding=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        official = model(**inputs)
    cosine = (official.text_embeds @ official.audio_embeds.T)[:, 0].tolist()
    found = match(clap, crops()[:2], ["dog", "violin"], sound())
    assert found == pytest.approx(cosine, abs=1e-5)


def test_clap_hears_only_names(clap: Any) -> None:
    found = match(clap, crops(), ["dog", "dog", " ", "car", "", "dog"], sound())
    assert found[0] == found[1] == found[5] != found[3]
    assert found[2] is None
    assert found[4] is None


def test_clap_hears_all_of_a_long_sound(clap: Any) -> None:
    long_N = np.concatenate([sound(8.0), 0.0 * sound(8.0), np.sin(np.arange(8 * RATE_HZ) / 9)])
    long_N = long_N.astype(np.float32)
    np.random.seed(0)
    first = match(clap, crops()[:1], ["dog"], long_N)
    np.random.seed(1)
    assert match(clap, crops()[:1], ["dog"], long_N) == first
    ends = long_N.copy()
    ends[-4 * RATE_HZ :] = 0.0
    assert match(clap, crops()[:1], ["dog"], ends) != first


def test_silence_matches_nothing(matcher: Any) -> None:
    assert match(matcher, crops()[:2], NAMES[:2], np.zeros(RATE_HZ, np.float32)) == [None, None]
    assert match(matcher, [], [], sound()) == []


@pytest.mark.parametrize("wav_N", [sound()[:1], sound(0.01)])
def test_short_sounds_are_answered(matcher: Any, wav_N: Wave) -> None:
    (found,) = match(matcher, crops()[:1], NAMES[:1], wav_N)
    assert found is not None
    assert np.isfinite(found)


def test_what_cannot_be_seen_or_heard_is_refused(matcher: Any) -> None:
    with pytest.raises(AnnotatorError, match="finite"):
        match(matcher, crops()[:1], ["dog"], np.full(100, np.nan, np.float32))
    with pytest.raises(AnnotatorError, match="at least one pixel"):
        match(matcher, [np.zeros((5, 0, 8, 3), np.uint8)], ["dog"], sound())


def busiest(matcher: Any) -> Any:
    """The part that sees the largest batches, and how long one item is in its input."""
    if isinstance(matcher, PeAvMatcher):
        return matcher._model.video_model.video_encoder.embedder.vision_model, 16
    return matcher._model.text_model.embeddings, 1


def rows(args: Any, kwargs: Any) -> int:
    return next(len(value) for value in (*args, *kwargs.values()) if value is not None)


def test_smaller_batches_give_the_same_where_memory_is_short(matcher: Any) -> None:
    part, per_item = busiest(matcher)
    room = [99]

    def refuse(_: Any, args: Any, kwargs: Any) -> None:
        if rows(args, kwargs) > room[0] * per_item:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    hook = part.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        expected = match(matcher, crops(), NAMES, sound())
        room[0] = 1
        assert match(matcher, crops(), NAMES, sound()) == pytest.approx(expected, abs=1e-5)
        room[0] = 0
        with pytest.raises(AnnotatorError) as failure:
            match(matcher, crops(), NAMES, sound())
        assert failure.value.kind is FailKind.OUT_OF_MEMORY
    finally:
        hook.remove()


@pytest.mark.parametrize("make", [PeAvMatcher, ClapMatcher])
def test_missing_or_changed_files_are_told(
    make: Callable[[], Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = make()
    shutil.copytree(folder / backend.name, tmp_path / backend.name)
    lock(monkeypatch, tmp_path, backend.name)
    config = tmp_path / backend.name / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(WeightsError, match="sha256"):
        backend.setup()
    config.unlink()
    with pytest.raises(WeightsError, match=f"avipipe weights pull {backend.name}"):
        backend.setup()
