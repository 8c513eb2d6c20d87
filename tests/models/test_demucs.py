"""HTDemucs at a hundredth of its size, random, from a checkpoint as its hub has it."""

import json
import pickle
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demucs.api import Separator
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

from avipipe.annotators.base import Wave
from avipipe.annotators.full.demucs import DemucsSeparator
from avipipe.errors import AnnotatorError, FailKind, WeightsError
from tests.models.locked import lock

CHECKPOINT = "955717e8"
RATE_HZ = 44_100
STEMS = ("drums", "bass", "other", "vocals")


def tiny() -> Any:
    torch.manual_seed(0)
    return HTDemucs(
        sources=list(STEMS),
        segment=Fraction(1),
        channels=8,
        growth=2,
        nfft=2048,
        depth=4,
        bottom_channels=16,
        t_layers=1,
        t_heads=2,
    )


def save(folder: Path) -> None:
    """As the hub has it: the class and its arguments as JSON in the file's metadata."""
    model = tiny()
    kwargs = model._init_args_kwargs[1]
    kwargs = kwargs | {"segment": {"_type": "fraction", "numerator": 1, "denominator": 1}}
    folder.mkdir(parents=True)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()},
        folder / f"{CHECKPOINT}.safetensors",
        metadata={
            "klass": "demucs.htdemucs.HTDemucs",
            "args": "[]",
            "kwargs": json.dumps(kwargs),
        },
    )


@pytest.fixture(scope="module")
def separator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemucsSeparator]:
    folder = tmp_path_factory.mktemp("weights")
    save(folder / "htdemucs")
    with pytest.MonkeyPatch.context() as patch:
        lock(patch, folder, "htdemucs")
        backend = DemucsSeparator()
        backend.setup()
        yield backend


def sound(num_channels: int, num_samples: int) -> Wave:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal((num_channels, num_samples))).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("num_channels", [1, 2, 3])
def test_four_stems_add_up_to_the_mixture(
    separator: DemucsSeparator, num_channels: int, rate_hz: int
) -> None:
    wav_CN = sound(num_channels, rate_hz + 17)
    waves = separator.separate(wav_CN, sample_rate_hz=rate_hz).waves
    assert set(waves) == set(STEMS)
    assert all(wave.shape == wav_CN.shape and wave.dtype == np.float32 for wave in waves.values())
    assert all(wave.std() > 1e-4 for wave in waves.values())
    assert np.allclose(sum(waves.values()), wav_CN, atol=1e-5)


def test_the_stems_are_those_of_the_official_separator(
    separator: DemucsSeparator, tmp_path: Path
) -> None:
    model = tiny()
    args, kwargs = model._init_args_kwargs
    package = {"klass": HTDemucs, "args": args, "kwargs": kwargs, "state": model.state_dict()}
    torch.save(package, tmp_path / "tiny0001.th")
    official = Separator("tiny0001", repo=tmp_path, shifts=0)
    wav_CN = sound(2, 2 * RATE_HZ)
    _, expected = official.separate_tensor(torch.from_numpy(wav_CN), RATE_HZ)
    waves = separator.separate(wav_CN, sample_rate_hz=RATE_HZ).waves
    for name in ("drums", "bass", "vocals"):
        assert np.allclose(waves[name], expected[name].numpy(), atol=1e-6)


def test_mono_is_doubled_and_folded_back(separator: DemucsSeparator) -> None:
    wav_CN = sound(1, RATE_HZ)
    mono = separator.separate(wav_CN, sample_rate_hz=RATE_HZ).waves
    stereo = separator.separate(wav_CN.repeat(2, axis=0), sample_rate_hz=RATE_HZ).waves
    for name in STEMS:
        assert np.allclose(mono[name][0], stereo[name].mean(axis=0), atol=1e-6)


def test_the_same_sound_gives_the_same_stems_in_any_worker(separator: DemucsSeparator) -> None:
    wav_CN = sound(2, RATE_HZ)
    first = separator.separate(wav_CN, sample_rate_hz=RATE_HZ).waves
    worker = pickle.loads(pickle.dumps(DemucsSeparator()))
    worker.setup()
    again = worker.separate(wav_CN, sample_rate_hz=RATE_HZ).waves
    assert all(np.array_equal(first[name], again[name]) for name in STEMS)


@pytest.mark.parametrize("num_samples", [1, 1600, RATE_HZ])
def test_silence_stays_silent(separator: DemucsSeparator, num_samples: int) -> None:
    wav_CN = np.zeros((2, num_samples), np.float32)
    waves = separator.separate(wav_CN, sample_rate_hz=48_000).waves
    assert all(np.abs(wave).max() < 1e-6 for wave in waves.values())


@pytest.mark.parametrize("bad", [np.zeros((2, 0)), np.full((2, 100), np.nan)])
def test_what_is_no_sound_is_refused(separator: DemucsSeparator, bad: Wave) -> None:
    with pytest.raises(AnnotatorError):
        separator.separate(bad.astype(np.float32), sample_rate_hz=RATE_HZ)


@pytest.mark.parametrize(("room_s", "fits"), [(0.6, True), (0.1, False)])
def test_less_is_done_at_once_where_memory_is_short(
    separator: DemucsSeparator, room_s: float, fits: bool
) -> None:
    def refuse(model: Any, inputs: Any) -> None:
        if inputs[0].shape[-1] > room_s * RATE_HZ:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    wav_CN = sound(2, RATE_HZ)
    before = separator.separate(wav_CN, sample_rate_hz=RATE_HZ).waves
    hook = separator._model.register_forward_pre_hook(refuse)
    try:
        if fits:
            waves = separator.separate(wav_CN, sample_rate_hz=RATE_HZ).waves
            assert np.allclose(sum(waves.values()), wav_CN, atol=1e-5)
            assert not np.array_equal(waves["vocals"], before["vocals"])
        else:
            with pytest.raises(AnnotatorError) as failure:
                separator.separate(wav_CN, sample_rate_hz=RATE_HZ)
            assert failure.value.kind is FailKind.OUT_OF_MEMORY
    finally:
        hook.remove()
    after = separator.separate(wav_CN, sample_rate_hz=RATE_HZ).waves
    assert np.array_equal(after["vocals"], before["vocals"])


def test_a_missing_or_changed_checkpoint_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "htdemucs")
    lock(monkeypatch, tmp_path, "htdemucs")
    checkpoint = tmp_path / "htdemucs" / f"{CHECKPOINT}.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="sha256"):
        DemucsSeparator().setup()
    checkpoint.unlink()
    with pytest.raises(WeightsError, match="avipipe weights pull htdemucs"):
        DemucsSeparator().setup()
