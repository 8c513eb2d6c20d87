import math
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from avipipe.errors import ManifestError
from avipipe.manifests.degrade import Law, Mask, Simulator, degrade, seed_of

LAWS = st.builds(
    Law,
    st.sampled_from(get_args(Simulator)),
    st.integers(1, 6),
    st.sampled_from([5.0, 40.0, 400.0]),
)
MASKS = arrays(np.bool_, st.tuples(st.integers(1, 60), st.integers(1, 60)))


def seeds_of(law: Law, key: str = "clip") -> list[int]:
    return [seed_of(key, p) for p in range(1, law.num_levels + 1)]


def disc(height: int = 120, width: int = 160) -> Mask:
    y, x = np.mgrid[:height, :width]
    inside: Mask = (y - 0.5 * height) ** 2 + (x - 0.5 * width) ** 2 < (0.3 * height) ** 2
    return inside


@given(LAWS, MASKS)
@settings(deadline=None, max_examples=200)
def test_levels_are_nested_from_the_mask_to_its_box(law: Law, mask_HW: Mask) -> None:
    levels = degrade(law, mask_HW, seeds_of(law))
    assert len(levels) == law.num_levels
    for small_HW, large_HW in zip([mask_HW, *levels], levels, strict=False):
        assert not (small_HW & ~large_HW).any()
    rows, columns = np.nonzero(mask_HW)
    box_HW = np.zeros_like(mask_HW)
    if mask_HW.any():
        box_HW[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    assert np.array_equal(levels[-1], box_HW)


@pytest.mark.parametrize("name", get_args(Simulator))
def test_every_simulator_grows_the_mask(name: Simulator) -> None:
    mask_HW = disc()
    mask_HW[40:80, 60:75] = False
    mask_HW[20:60, 10:18] = True
    law = Law(name, reach_px=120.0)
    areas = [int(level.sum()) for level in degrade(law, mask_HW, seeds_of(law))]
    assert mask_HW.sum() < areas[0]
    assert areas == sorted(areas)
    assert len(set(areas)) >= 3


@pytest.mark.parametrize(("name", "depends"), [("gaussian", False), ("scribble", True)])
def test_only_random_simulators_follow_the_clip(name: Simulator, depends: bool) -> None:
    law = Law(name)
    one, again, other = (degrade(law, disc(), seeds_of(law, key))[2] for key in "aab")
    assert np.array_equal(one, again)
    assert np.array_equal(one, other) is not depends


def integer_gaussian(mask_HW: Mask, kernel: int, sigma: float, threshold: float) -> Mask:
    """The law of `gaussian` in integers only, written from its documentation."""
    offsets = np.arange(kernel) - kernel // 2
    bell = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights = np.rint(bell * (4096 / bell.sum())).astype(np.int64)
    weights[kernel // 2] += 4096 - weights.sum()

    def smooth(line: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.convolve(line, weights)[kernel // 2 : kernel // 2 + line.size]

    rows = np.apply_along_axis(smooth, 1, mask_HW.astype(np.int64))
    both = np.apply_along_axis(smooth, 0, rows)
    blurred: Mask = both > math.floor(threshold * 4096**2)
    return blurred


@given(arrays(np.bool_, (48, 64)), st.sampled_from([8.0, 40.0, 300.0]))
@settings(deadline=None, max_examples=40)
def test_gaussian_is_exact_integer_arithmetic(mask_HW: Mask, reach_px: float) -> None:
    # A mask in two opposite corners has the whole picture as its box.
    mask_HW[0, 0] = mask_HW[-1, -1] = True
    law = Law("gaussian", reach_px=reach_px)
    expected_HW = mask_HW
    for p, level_HW in enumerate(degrade(law, mask_HW, seeds_of(law))[:-1], start=1):
        level = law.level(p, mask_HW.shape[0])
        blurred_HW = integer_gaussian(mask_HW, level.kernel, level.sigma, level.threshold)
        expected_HW = expected_HW | blurred_HW
        assert np.array_equal(level_HW, expected_HW)


def test_scale_grows_with_p_and_with_the_height() -> None:
    law = Law()
    levels = [law.level(p, 720) for p in range(1, 5)]
    assert [level.sigma for level in levels] == [10.0, 20.0, 30.0, 0.0]
    assert [level.kernel for level in levels] == [61, 121, 181, 0]
    assert [level.threshold for level in levels] == [0.375, 0.25, 0.125, 0.0]
    assert law.level(2, 1440).sigma == 40.0


def test_law_survives_json_and_an_unknown_one_is_refused() -> None:
    law = Law("hull", 3, 25.0)
    assert Law.from_json(law.to_json()) == law
    for wrong in ({"version": 99}, {"name": "guess"}, {"reach_px": None}):
        with pytest.raises(ManifestError, match="version of avipipe that wrote it"):
            Law.from_json({**law.to_json(), **wrong})


def test_seeds_must_fit_the_levels() -> None:
    with pytest.raises(ValueError, match="expected 4 seeds"):
        degrade(Law(), disc(), [1, 2])
