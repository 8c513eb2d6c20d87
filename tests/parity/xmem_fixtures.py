"""Weights, frames and samples by the recipe of the XMem reference numbers.

The numbers in `data/xmem` were made with the official code (hkchengrex/XMem@f3b841d, MIT licence,
Copyright (c) 2024 Ho Kei Cheng); weights and inputs are drawn anew from seeds.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avipipe.annotators.xmem.network import XMem, load

DATA = Path(__file__).parent / "data" / "xmem"
Array = npt.NDArray[Any]
Arrays = dict[str, Array]

SCENARIO: dict[str, Any] = json.loads((DATA / "scenario.json").read_text())
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def arrays(name: str) -> Arrays:
    with np.load(DATA / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def state() -> dict[str, Tensor]:
    shapes: dict[str, list[int]] = json.loads((DATA / "keys.json").read_text())
    return {key: torch.from_numpy(_weight(key, shape, shapes)) for key, shape in shapes.items()}


def _weight(key: str, shape: list[int], shapes: dict[str, list[int]]) -> Array:
    module, _, leaf = key.rpartition(".")
    if leaf == "num_batches_tracked":
        return np.zeros((), np.int64)
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if f"{module}.running_mean" in shapes:
        return {
            "weight": 1 + np.float32(0.1) * n,
            "bias": np.float32(0.1) * n,
            "running_mean": np.float32(0.1) * n,
            "running_var": 1 + np.float32(0.1) * np.abs(n),
        }[leaf]
    if len(shape) == 1:
        return np.float32(0.02) * n
    multiplier = SCENARIO["weight_multipliers"].get(key, 1.0)
    return np.asarray(n * np.float32(multiplier / np.sqrt(np.prod(shape[1:]))))


def network() -> XMem:
    return load(state())


def frames(
    seed: int, num_frames: int, height: int, width: int, num_objects: int
) -> tuple[Tensor, npt.NDArray[np.uint8]]:
    """Normalised images (T, 3, H, W) and masks (T, O, H, W)."""
    rng, n, tau = np.random.default_rng(seed), num_objects, 2 * np.pi
    size, x_frequency = rng.uniform(0.04, 0.12, (3, 6)), rng.uniform(-0.08, 0.08, (3, 6))
    y_frequency, t_frequency = rng.uniform(-0.08, 0.08, (3, 6)), rng.uniform(-0.6, 0.6, (3, 6))
    phase = rng.uniform(0, tau, (3, 6))
    centre, swing = rng.uniform(0.25, 0.75, (n, 2)), rng.uniform(0.08, 0.2, (n, 2))
    omega, start = rng.uniform(0.15, 0.45, (n, 2)), rng.uniform(0, tau, (n, 2))
    radius, grating = rng.uniform(0.13, 0.24, (n, 2)), rng.uniform(-0.12, 0.12, (n, 3, 2))
    offset, base = rng.uniform(0, tau, (n, 3)), rng.uniform(0.25, 0.75, (n, 3))

    y, x = np.mgrid[:height, :width].astype(np.float64)
    images, masks = [], []
    for t in range(num_frames):
        image = np.full((3, height, width), 0.5)
        for channel in range(3):
            for wave in range(6):
                at = channel, wave
                turns = x_frequency[at] * x + y_frequency[at] * y
                angle = tau * turns + t_frequency[at] * t + phase[at]
                image[channel] += size[at] * np.sin(angle)
        mask = np.zeros((n, height, width), np.uint8)
        for o in range(n):
            middle = centre[o] + swing[o] * np.sin(omega[o] * t + start[o])
            dx, dy = x - width * middle[0], y - height * middle[1]
            inside = (dx / (width * radius[o, 0])) ** 2 + (dy / (height * radius[o, 1])) ** 2 <= 1
            for channel in range(3):
                turns = grating[o, channel, 0] * dx + grating[o, channel, 1] * dy
                angle = tau * turns + offset[o, channel]
                colour = base[o, channel] + 0.25 * np.sin(angle)
                image[channel] = np.where(inside, colour, image[channel])
            mask[:, inside] = 0
            mask[o, inside] = 1
        mean, std = (np.reshape(values, (3, 1, 1)) for values in (MEAN, STD))
        images.append(((image.clip(0, 1) - mean) / std).astype(np.float32))
        masks.append(mask)
    return torch.from_numpy(np.stack(images)), np.stack(masks)


def stats(array: Array) -> Array:
    values = array.astype(np.float64)
    return np.array([values.mean(), values.std(), np.abs(values).max()])


def samples(array: Array) -> Array:
    at = (np.arange(64, dtype=np.int64) * 2654435761) % array.size
    return np.asarray(array.ravel()[at])


def check(expected: Arrays, name: str, got: Tensor, *, atol: float, rtol: float = 0.0) -> None:
    """Compare with whatever is stored of `name`: the whole, statistics, samples."""
    array = got.numpy()
    found = 0
    if name in expected:
        np.testing.assert_allclose(array.reshape(expected[name].shape), expected[name], rtol, atol)
        found += 1
    for suffix, measure in (("_stats", stats), ("_samples", samples)):
        if name + suffix in expected:
            np.testing.assert_allclose(measure(array), expected[name + suffix], rtol, atol)
            found += 1
    assert found, f"nothing is stored of {name}"
