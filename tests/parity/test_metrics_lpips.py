"""LPIPS against numbers of lpips 0.1.4, torchmetrics and common_metrics."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchmetrics.functional.image

from avipipe import weights
from avipipe.evaluate.extractors.local_views import blacked_out
from avipipe.evaluate.extractors.lpips import LpipsAlex, LpipsSqueeze
from avipipe.evaluate.metrics.lpips import mean_lpips
from tests.models.single_file import lock_files
from tests.parity.metric_fixtures import Arrays, arrays
from tests.parity.metric_recipes import recipe_state

ABSOLUTE, RELATIVE = 1e-5, 1e-4
HEADS = Path(torchmetrics.functional.image.__file__).parent / "lpips_models"
"""The published heads, which torchmetrics brings along."""

Array = npt.NDArray[Any]
Frames = npt.NDArray[np.uint8]
NETS: dict[str, type[LpipsAlex]] = {"alex": LpipsAlex, "squeeze": LpipsSqueeze}


@pytest.fixture(scope="module")
def numbers() -> Arrays:
    return arrays("image_quality")


@pytest.fixture(scope="module")
def lpips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LpipsAlex]:
    """Sets up LPIPS with a backbone of the recipe and the published heads, held to their hash."""
    folder = tmp_path_factory.mktemp("lpips")

    @cache
    def set_up(net: str) -> LpipsAlex:
        extractor = NETS[net]()
        backbone, heads = (weights.entry(name) for name in extractor.needs)
        torch.save(recipe_state("lpips", "keys", net), folder / backbone.files[0].name)
        shutil.copy(HEADS / f"{net}.pth", folder / heads.files[0].name)
        with pytest.MonkeyPatch.context() as patch:
            lock_files(patch, folder, backbone.name)
            extractor.setup()
        return extractor

    return set_up


def clips(numbers: Arrays, *, is_filled: bool) -> tuple[Frames, Frames]:
    """Source and edit of one frame, black inside the mask or not."""
    keep_THW = numbers["mask"][None] == 0
    sides = (numbers["src"][None], numbers["tgt"][None])
    source, edit = (blacked_out(side, keep_THW) if is_filled else side for side in sides)
    return source, edit


@pytest.mark.parametrize("net", NETS)
def test_lpips_whole_and_outside_the_mask(
    numbers: Arrays, lpips: Callable[[str], LpipsAlex], net: str
) -> None:
    extractor = lpips(net)
    for name, is_filled in (("full", False), ("unedit", True)):
        pair = clips(numbers, is_filled=is_filled)
        found = mean_lpips(extractor.distances(*pair))
        held(found, numbers[f"lpips_{net}_{name}"])
        (layers,) = extractor.layers(*pair)
        held(layers, numbers[f"lpips_{net}_{name}_layers"])
    whole = mean_lpips(extractor.distances(*clips(numbers, is_filled=False)))
    held(whole, numbers[f"lpips_{net}_torchmetrics_full"])


def test_the_mean_of_the_map(numbers: Arrays, lpips: Callable[[str], LpipsAlex]) -> None:
    map_THW = lpips("alex").maps(*clips(numbers, is_filled=False))
    assert map_THW.shape == (1, *numbers["mask"].shape)
    held(map_THW.mean(), numbers["lpips_alex_common_spatial_mean"])


def held(found: Array | float, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, atol=ABSOLUTE, rtol=RELATIVE)
