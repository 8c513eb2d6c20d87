"""Motion fidelity against numbers of FiVE's implementation."""

import numpy as np
import pytest

from avipipe.evaluate.metrics.motion_fidelity import (
    box_five,
    fidelity_five,
    fidelity_symmetric,
    step_similarity,
)
from avipipe.evaluate.metrics.undefined import Undefined
from tests.parity.metric_fixtures import Arrays, arrays, close

TOLERANCE = 1e-5
CASES = [
    *("noisy", "identical", "same_motion", "opposite"),
    *("static_track", "one_static_step", "permuted"),
]


@pytest.fixture(scope="module")
def numbers() -> Arrays:
    return arrays("motion")


@pytest.mark.parametrize("case", CASES)
def test_fidelity(numbers: Arrays, case: str) -> None:
    edit, source = numbers[f"{case}_edit"], numbers[f"{case}_source"]
    close(fidelity_symmetric(edit, source), numbers[f"{case}_mfs_sym"], TOLERANCE)
    expected = numbers[f"{case}_mfs_five"]
    if np.isnan(expected):
        with pytest.raises(Undefined, match="stands still"):
            fidelity_five(edit, source)
    else:
        close(fidelity_five(edit, source), expected, TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_similarity_of_all_tracks(numbers: Arrays, case: str) -> None:
    expected = numbers[f"{case}_matrix"]
    found = step_similarity(numbers[f"{case}_edit"], numbers[f"{case}_source"], still_px=0)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    close(np.nan_to_num(found), np.nan_to_num(expected), TOLERANCE)
    np.testing.assert_allclose(
        found.max(axis=1).mean(), numbers[f"{case}_mfs_noeye"], atol=TOLERANCE
    )


def test_other_numbers_of_tracks_have_no_value_by_five(numbers: Arrays) -> None:
    assert numbers["unequal_counts_raises"].all()
    edit, source = numbers["noisy_edit"], numbers["noisy_source"]
    for fewer in ((edit[1:], source), (edit, source[1:])):
        with pytest.raises(Undefined, match="tracks against"):
            fidelity_five(*fewer)


def test_the_box_in_which_five_tracks(numbers: Arrays) -> None:
    np.testing.assert_array_equal(box_five(numbers["box_masks"] > 0), numbers["box_five"] > 0)
