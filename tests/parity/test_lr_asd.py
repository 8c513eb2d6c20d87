"""LR-ASD, its audio features and its crops against numbers of the official implementation.

The numbers in `data/lr_asd` were made with Junhua-Liao/LR-ASD@1b6dcd2 (MIT licence, Copyright (c)
2025 Liao Junhua) and python_speech_features 0.6 (MIT licence). Formula weights and pictures are
drawn anew from seeds; the trained weights and the clip of a person are used where they are at hand.
"""

import hashlib
import json
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from avipipe.annotators.faces.crop import Faces, crop, smooth
from avipipe.annotators.faces.lr_asd import (
    CHUNKS_S,
    LrAsd,
    chunk_scores,
    load,
    speaking_scores,
)
from avipipe.annotators.faces.mfcc import mfcc, mfcc_of_frames
from avipipe.errors import WeightsError

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = Path(__file__).parent / "data" / "lr_asd"
SHARED = Path(__file__).parents[3] / "shared"
SCENARIO: dict[str, Any] = json.loads((DATA / "scenario.json").read_text())
TRAINED = ("pretrain_AVA", "finetuning_TalkSet")

Array = npt.NDArray[Any]


def check(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


def arrays(path: Path) -> dict[str, Array]:
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def made_up() -> dict[str, Array]:
    return arrays(DATA / "formula.npz")


@pytest.fixture(scope="module")
def clip() -> dict[str, Array]:
    path = SHARED / "parity" / "lr_asd" / "clip.npz"
    if not path.is_file():
        pytest.skip("the numbers of a real clip are not here")
    return arrays(path)


@pytest.fixture(scope="module")
def formula(tmp_path_factory: pytest.TempPathFactory) -> LrAsd:
    path = tmp_path_factory.mktemp("weights") / "formula.model"
    torch.save(formula_state(), path)
    return load(path, device="cpu")


@pytest.fixture(scope="module", params=["formula", *TRAINED])
def weights(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def net(weights: str, formula: LrAsd) -> LrAsd:
    return formula if weights == "formula" else load(trained_path(weights), device="cpu")


def trained_path(name: str) -> Path:
    path = SHARED / "weights" / f"lr_asd_{name}.model"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SCENARIO["weight_files"][name]
    return path


def formula_state() -> dict[str, Tensor]:
    shapes: dict[str, list[int]] = json.loads((DATA / "keys.json").read_text())
    return {key: torch.from_numpy(formula_weight(key, shapes)) for key in shapes}


def formula_weight(key: str, shapes: dict[str, list[int]]) -> Array:
    module, _, leaf = key.rpartition(".")
    shape = shapes[key]
    if leaf == "num_batches_tracked":
        return np.zeros((), np.int64)
    drawn = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    n = drawn.astype(np.float32)
    if f"{module}.running_mean" in shapes:
        return {
            "weight": 1 + np.float32(0.1) * n,
            "bias": np.float32(0.1) * n,
            "running_mean": np.float32(0.1) * n,
            "running_var": 1 + np.float32(0.1) * np.abs(n),
        }[leaf]
    if len(shape) < 2:
        return np.asarray(np.float32(0.02) * n)
    encoders = ("model.visualEncoder.", "model.audioEncoder.")
    gain = 6.0 if leaf == "weight" and module.endswith(".FC") else 1.0
    gain = 1.6 if len(shape) > 2 and key.startswith(encoders) else gain
    return np.asarray(n * np.float32(gain / np.sqrt(np.prod(shape[1:]))))


def made_up_video() -> Faces:
    rule = SCENARIO["pattern"]
    t, y, x = np.mgrid[: rule["T"], :112, :112]
    first, second, third = rule["p"]
    stripes = x // (first // 8) + y // (second // 8) + (t * rule["d"]) // 3
    video = (rule["a"] * x + rule["b"] * y + rule["c"] * t) % 160 + 64 * (stripes % 2)
    return np.asarray(video + (x * y + third * t) % 31, np.uint8)


@torch.inference_mode()
def logits(net: LrAsd, mfcc_RK: Array, faces_THW: Array) -> Array:
    seen_BTC = net.see(torch.from_numpy(faces_THW)[None].float())
    found: Tensor = net(torch.from_numpy(mfcc_RK.astype(np.float32))[None], seen_BTC)[0]
    return found.numpy()


def test_weights_by_the_rule() -> None:
    state = formula_state()
    for key, check in SCENARIO["weight_check"].items():
        np.testing.assert_allclose(state[key].flatten()[:4], check["first"])
        assert state[key].double().sum().item() == pytest.approx(check["sum"])


def test_weights_have_the_official_names_and_shapes() -> None:
    shapes = {key: list(tensor.shape) for key, tensor in LrAsd().state_dict().items()}
    assert shapes == json.loads((DATA / "keys.json").read_text())


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.model"
    for content in ({"model.fusion.bn.weight": torch.zeros(256)}, [1, 2]):
        torch.save(content, path)
        with pytest.raises(WeightsError, match="weights pull lr_asd"):
            load(path, device="cpu")
    path.write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="weights pull lr_asd"):
        load(path, device="cpu")


def test_made_up_video_by_the_rule(made_up: dict[str, Array]) -> None:
    video = made_up_video()
    stats = [video.mean(), video.std(), video.max()]
    np.testing.assert_allclose(stats, made_up["video_stats"])
    places = np.arange(64) * 2654435761 % video.size
    np.testing.assert_array_equal(video.ravel()[places], made_up["video_samples"])


@torch.inference_mode()
def test_features(net: LrAsd, weights: str, made_up: dict[str, Array]) -> None:
    seen = net.see(torch.from_numpy(made_up_video())[None].float())
    heard = net.hear(torch.from_numpy(made_up["mfcc"])[None])
    both = net.detect(heard, seen)
    shown = [0, 1, 26, 51]
    for name, found in (
        ("visual_embed", seen),
        ("audio_embed", heard),
        ("detector_out", both),
    ):
        check(found[0, shown].numpy(), made_up[f"{weights}_{name}"])
        stats = [float(found.mean()), float(found.std(correction=0)), float(found.abs().max())]
        np.testing.assert_allclose(stats, made_up[f"{weights}_{name}_stats"], rtol=1e-3)
    check(net.lossV.FC(seen)[0].numpy(), made_up[f"{weights}_visual_only_logits"])


def test_logits_of_made_up_input(net: LrAsd, weights: str, made_up: dict[str, Array]) -> None:
    found = logits(net, made_up["mfcc"], made_up_video())
    check(found, made_up[f"{weights}_logits"])


def test_logits_of_a_real_clip(net: LrAsd, weights: str, clip: dict[str, Array]) -> None:
    faces, sound = clip["faces"][:99], clip["mfcc"][:396]
    silence = np.zeros(64000, np.int16)
    for name, features, pictures in (
        ("", sound, faces),
        ("_silent", mfcc(silence)[:396], faces),
        ("_frozen", sound, np.repeat(faces[:1], 99, axis=0)),
    ):
        check(logits(net, features, pictures), clip[f"{weights}{name}_logits"])


def test_scores_of_a_real_clip(net: LrAsd, weights: str, clip: dict[str, Array]) -> None:
    faces, sound = clip["faces"][:99], clip["mfcc"][:396]
    check(chunk_scores(net, faces, sound), clip[f"{weights}_chunk_scores"])
    scores = speaking_scores(net, faces, sound)
    check(scores, clip[f"{weights}_mean_scores"])
    np.testing.assert_allclose(scores, clip[f"{weights}_demo_scores"], atol=0.1)


@pytest.mark.parametrize("num_frames", [1, 24, 84])
def test_two_passes_give_the_scores_of_each_chunk(formula: LrAsd, num_frames: int) -> None:
    video = np.resize(made_up_video(), (num_frames, 112, 112))
    sound = np.random.default_rng(7).standard_normal((4 * num_frames, 13)) * 8
    found = chunk_scores(formula, video, sound)
    for row, seconds in enumerate(CHUNKS_S):
        size = 25 * seconds
        parts = [
            logits(formula, sound[4 * start : 4 * (start + size)], video[start : start + size])[
                :, 1
            ]
            for start in range(0, num_frames, size)
        ]
        np.testing.assert_allclose(found[row], np.concatenate(parts), atol=1e-3, rtol=1e-4)


def test_mfcc() -> None:
    expected = arrays(DATA / "mfcc.npz")
    audio = expected["audio"]
    for name, samples in (
        ("mfcc", audio),
        ("odd_mfcc", audio[:16001]),
        ("short_mfcc", audio[:333]),
        ("silence_mfcc", np.zeros(4000, np.int16)),
    ):
        np.testing.assert_allclose(mfcc(samples), expected[name], atol=1e-6, rtol=0)


def test_four_rows_of_features_for_each_frame() -> None:
    audio = arrays(DATA / "mfcc.npz")["audio"]
    wav_N = np.asarray(audio / 32768, np.float32)
    at_25 = mfcc_of_frames(wav_N, fps=Fraction(25), num_frames=38)
    np.testing.assert_allclose(at_25[:149], mfcc(audio), atol=1e-6)
    assert at_25.shape == (152, 13)
    # A frame lasts longer at 24 than at 25 per second, and so do its windows, without drift.
    at_24 = mfcc_of_frames(wav_N, fps=Fraction(24), num_frames=36)
    start = round(140 * 16000 / 96)
    alone = mfcc(audio[start - 1 : start + 417], window=417, hop=1)
    np.testing.assert_allclose(at_24[140], alone[1], atol=1e-6)
    assert at_24.shape == (144, 13)


def test_crops() -> None:
    expected = arrays(DATA / "crop.npz")
    height, width = expected["size"].tolist()
    k, frames = expected["k"].tolist(), np.arange(20)[:, None, None]
    y, x = np.mgrid[:height, :width]
    channels = [
        ((k[3 * c] * x) // 2 + (k[3 * c + 1] * y) // 2 + 3 * k[3 * c + 2] * frames) % 256
        for c in range(3)
    ]
    rgb = np.stack(channels[::-1], axis=-1).astype(np.uint8)
    np.testing.assert_allclose(smooth(expected["bboxes"]), expected["smoothed"], atol=1e-6)
    off = crop(rgb, expected["bboxes"]).astype(int) - expected["crops"]
    assert np.abs(off).max() <= 2
    assert np.abs(off).mean() < 0.5
