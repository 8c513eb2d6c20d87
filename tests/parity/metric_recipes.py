"""Weights and sounds by the recipes of the reference numbers of metrics (their README)."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from tests.parity.metric_fixtures import FOLDER

Array = npt.NDArray[Any]


def stats(array: Array) -> list[float]:
    """Shape, sum and sum of squares."""
    values = array.astype(np.float64)
    return [*map(float, array.shape), float(values.sum()), float((values**2).sum())]


def recipe_state(name: str, *parts: str) -> dict[str, Tensor]:
    """The tensors of a network by the recipe of `{name}_keys.json`, checked by sum and first.

    Args:
        parts: the way in the file to the tensors of one network of several; else `keys`.
    """
    path = FOLDER / f"{name}_keys.json"
    if not path.is_file():
        pytest.skip(f"no {path}: set AVIPIPE_PARITY_DIR to the folder of reference numbers")
    told = json.loads(path.read_text())
    entries = told
    for part in parts or ("keys",):
        entries = entries[part]
    return {key: torch.from_numpy(_tensor(key, entry, told)) for key, entry in entries.items()}


def _tensor(key: str, entry: Mapping[str, Any], told: Mapping[str, Any]) -> Array:
    shape, leaf = entry["shape"], key.rpartition(".")[2]
    rng = np.random.Generator(np.random.PCG64([told["seed"], zlib.crc32(key.encode())]))
    n = rng.standard_normal(shape).astype(np.float32)
    if leaf == "running_mean":
        values = np.float32(0.1) * n
    elif leaf == "running_var":
        values = 1 + np.float32(0.2) * np.abs(n)
    elif len(shape) > 1:
        values = n * np.float32(np.sqrt(told["gain"] / np.prod(shape[1:])))
    elif leaf == "weight":
        values = 1 + np.float32(0.1) * n
    else:
        values = np.float32(0.1) * n
    np.testing.assert_allclose(
        [values.sum(dtype=np.float64), values.flat[0]], [entry["sum"], entry["first"]], rtol=1e-6
    )
    values = values * np.float32(entry.get("factor", 1.0)) + np.float32(entry.get("shift", 0.0))
    return np.asarray(values, np.float32)


def swept_sine(num: int, *, sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """The sound that the recipes add noise to: a rising tone that is cut on and off."""
    t = np.arange(num) / sample_rate_hz
    tone = 0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t) * (np.sin(2 * np.pi * 1.7 * t) > -0.3)
    return np.asarray(tone, np.float64)


def noisy_tone(num: int, seed: int, *, sample_rate_hz: int = 16_000) -> npt.NDArray[np.float32]:
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(num)
    tone = swept_sine(num, sample_rate_hz=sample_rate_hz)
    return np.asarray(tone + 0.05 * noise, np.float32)


def offset_tone(
    num: int, channels: int, seed: int, *, sample_rate_hz: int
) -> npt.NDArray[np.float32]:
    """Channels (C, N) of the recipe of ImageBind's sounds: with an offset, the second reversed."""
    rng = np.random.Generator(np.random.PCG64(seed))
    tone = swept_sine(num, sample_rate_hz=sample_rate_hz)
    first = tone + 0.05 * rng.standard_normal(num) + 0.1
    rows = [first]
    if channels == 2:
        rows.append(0.5 * first[::-1] + 0.02 * rng.standard_normal(num))
    return np.stack(rows).astype(np.float32)
