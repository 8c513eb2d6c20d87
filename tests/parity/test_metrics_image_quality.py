"""SSIM, PSNR and MSE against the numbers of FiVE-Bench, torchmetrics and common_metrics."""

import numpy as np
import pytest

from avipipe.evaluate.metrics.pixel_error import mse, mse_zero_fill, psnr_db, psnr_zero_fill_db
from avipipe.evaluate.metrics.ssim import (
    ssim,
    ssim_inside,
    ssim_map,
    ssim_uniform,
    ssim_zero_fill,
)
from tests.parity.metric_fixtures import Arrays, arrays, close

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def quality() -> Arrays:
    return arrays("image_quality")


def test_whole_frames(quality: Arrays) -> None:
    pair = quality["src"][None], quality["tgt"][None]
    close(ssim(*pair), quality["five_ssim_full"], TOLERANCE)
    close(ssim(*pair), quality["ssim_torchmetrics_range1"], TOLERANCE)
    close(ssim(*pair), quality["ssim_torchmetrics_range255"], TOLERANCE)
    close(psnr_db(*pair), quality["five_psnr_full"], TOLERANCE)
    close(psnr_db(*pair), quality["psnr_common"], TOLERANCE)
    close(mse(*pair), quality["five_mse_full"], TOLERANCE)
    close(psnr_db(pair[0], pair[0]), quality["psnr_common_identical"], TOLERANCE)
    values = ssim_map(quality["src"], quality["tgt"])
    close(values, quality["ssim_map"], TOLERANCE)
    for name in ("common", "pytorch_msssim", "skimage_gauss"):  # without the reflected borders
        close(values[5:-5, 5:-5].mean(), quality[f"ssim_{name}"], TOLERANCE)
    close(ssim_uniform(*pair), quality["ssim_skimage_default"], TOLERANCE)
    black = np.zeros_like(pair[0])
    close(ssim(black, black), quality["ssim_zero_vs_zero"], TOLERANCE)


@pytest.mark.parametrize("part", ["edit", "unedit"])
def test_zero_filled(quality: Arrays, part: str) -> None:
    inside = quality["mask"][None] == (1 if part == "edit" else 0)
    given = quality["src"][None], quality["tgt"][None], inside
    close(ssim_zero_fill(*given), quality[f"five_ssim_{part}"], TOLERANCE)
    close(psnr_zero_fill_db(*given), quality[f"five_psnr_{part}"], TOLERANCE)
    close(mse_zero_fill(*given), quality[f"five_mse_{part}"], TOLERANCE)


def test_inside_and_outside(quality: Arrays) -> None:
    source, edit, mask = (quality[name][None] for name in ("src", "tgt", "mask"))
    inside = mask.astype(np.bool_)
    close(ssim_inside(source, edit, inside), quality["ssim_fgmap_eroded"], TOLERANCE)
    plain = ssim_inside(source, edit, inside, is_eroded=False)
    close(plain, quality["ssim_fgmap_plain"], TOLERANCE)
    close(psnr_db(source, edit, ~inside), quality["psnr_bg_true"], TOLERANCE)
    close(mse(source, edit, ~inside), quality["mse_bg_true"], TOLERANCE)
    diluted = quality["mse_bg_true"] * (1 - quality["mask_fraction"])
    close(mse_zero_fill(source, edit, ~inside), diluted, TOLERANCE)
