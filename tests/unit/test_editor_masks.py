"""Masks of latent cells: from pixels, and from the refiner's logits."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from avipipe.editor.avi_edit.masks import downsample_mask
from avipipe.editor.avi_edit.refine import THRESHOLDS, close, refine_mask, refine_mask_as_released

SURE = 9.0


def random_mask(seed: int, *shape: int, share: float = 0.3) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


# --- down-sampling -------------------------------------------------------------------------------


def brute_force(mask_B1FHW: Tensor) -> Tensor:
    batch, _, num_frames, height, width = mask_B1FHW.shape
    cells = torch.zeros(batch, 1, (num_frames + 3) // 4, height // 16, width // 16).bool()
    for sample, _, frame, y, x in mask_B1FHW.nonzero().tolist():
        cells[sample, 0, (frame + 3) // 4, y // 16, x // 16] = True
    return cells


@pytest.mark.parametrize("num_frames", [1, 5, 13])
def test_a_cell_is_in_if_any_of_its_pixels_is(num_frames: int) -> None:
    mask = random_mask(num_frames, 2, 1, num_frames, 32, 48, share=0.001)
    assert torch.equal(downsample_mask(mask), brute_force(mask))


def test_thin_things_do_not_vanish() -> None:
    """A line of one pixel in one frame, wherever it is; the released rule loses most of them."""
    lost = 0
    for row in range(32):
        mask = torch.zeros(1, 1, 5, 32, 32, dtype=torch.bool)
        mask[:, :, 1 + row % 4, row] = True
        assert downsample_mask(mask)[0, 0, 1, row // 16].all()
        lost += not downsample_mask(mask, "released").any()
    assert lost > 16


@pytest.mark.parametrize("rule", ["max_pool", "released"])
def test_whole_and_empty_masks_stay_so(rule: str) -> None:
    whole = torch.ones(1, 1, 9, 32, 32, dtype=torch.bool)
    assert downsample_mask(whole, rule).all()  # type: ignore[arg-type]
    assert not downsample_mask(~whole, rule).any()  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(8, 32, 32), (9, 40, 32), (9, 32, 24)])
def test_sizes_that_the_vae_cannot_encode_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 4 n \\+ 1 frames"):
        downsample_mask(torch.zeros(1, 1, *shape))


# --- refining ------------------------------------------------------------------------------------


def logits_of(mask: Tensor) -> Tensor:
    return torch.where(mask, SURE, -SURE)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kernel", [3, 5])
def test_closing_is_the_textbook_one(seed: int, kernel: int) -> None:
    mask = random_mask(seed, 1, 1, 2, 9, 11)
    structure = np.ones((1, kernel, kernel), bool)
    wide = np.pad(mask[0, 0].numpy(), ((0, 0), (kernel, kernel), (kernel, kernel)))
    closed = ndimage.binary_closing(wide, structure)[:, kernel:-kernel, kernel:-kernel]
    assert np.array_equal(close(mask, kernel)[0, 0].numpy(), closed)
    assert torch.equal(close(close(mask, kernel), kernel), close(mask, kernel))
    assert (close(mask, kernel) | ~mask).all()


def test_closing_fills_a_hole_within_the_users_mask() -> None:
    user = torch.ones(1, 1, 1, 8, 8, dtype=torch.bool)
    ring = user.clone()
    ring[..., 4, 4] = False
    assert torch.equal(refine_mask(logits_of(ring), user, 0.5), user)
    assert torch.equal(refine_mask(logits_of(ring), user, 0.5, kernel=1), ring)
    user[..., 4, 4] = False
    assert torch.equal(refine_mask(logits_of(ring), user, 0.5), user)


@pytest.mark.parametrize("seed", range(5))
def test_it_never_exceeds_the_users_mask_nor_the_one_before(seed: int) -> None:
    """The released step does; see the next test."""
    user = random_mask(seed, 2, 1, 3, 12, 16, share=0.8)
    previous = user & random_mask(seed + 50, 2, 1, 3, 12, 16, share=0.8)
    logits = 3 * torch.randn(user.shape, generator=torch.Generator().manual_seed(seed))
    refined = refine_mask(logits, user, 0.2)
    assert not (refined & ~user).any()
    again = refine_mask(logits, user, 0.02, previous=previous)
    assert not (again & ~previous).any()


def test_the_released_step_exceeds_the_users_mask() -> None:
    user = torch.ones(1, 1, 1, 8, 8, dtype=torch.bool)
    user[..., 3, 3] = user[..., 0] = False
    refined = refine_mask_as_released(logits_of(user), user, 0.5)
    assert (refined & ~user).sum() > 1


def test_a_frame_that_would_lose_the_object_keeps_its_mask() -> None:
    user = torch.zeros(1, 1, 4, 10, 10, dtype=torch.bool)
    user[:, :, 1:] = True  # the first frame has no object: nothing is to be kept there
    found = torch.zeros_like(user)
    found[:, :, 2, 0, :4] = True  # 4 % of the mask
    found[:, :, 3, 0, :6] = True  # 6 %
    refined = refine_mask(logits_of(found), user, 0.5)
    assert not refined[:, :, 0].any()
    assert torch.equal(refined[:, :, 1:3], user[:, :, 1:3])
    assert torch.equal(refined[:, :, 3], found[:, :, 3])
    smaller = user & (torch.arange(10) < 7)
    kept = refine_mask(logits_of(found), user, 0.5, previous=smaller)
    assert torch.equal(kept[:, :, 1], smaller[:, :, 1])


def test_each_sample_has_its_own_threshold() -> None:
    user = torch.ones(2, 1, 1, 4, 4, dtype=torch.bool)
    thresholds = torch.tensor([THRESHOLDS[1], THRESHOLDS[4]])
    logits = torch.logit(torch.full(user.shape, 0.1))
    logits[..., 0] = SURE
    refined = refine_mask(logits, user, thresholds)
    assert refined[0].all()
    assert not refined[1, ..., 1:].any()
    for index in range(2):
        alone = refine_mask(logits[index : index + 1], user[:1], float(thresholds[index]))
        assert torch.equal(alone[0], refined[index])
