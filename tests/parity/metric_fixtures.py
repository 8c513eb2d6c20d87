"""Numbers of reference implementations of metrics, to compare ours with.

They lie in a folder `metrics` of `AVIPIPE_PARITY_DIR`, or of `../shared/parity` beside the
repository; where it is not, tests that need it are skipped. Tolerances are those of its README:
max|difference| <= tolerance * max(1, max|expected|), relative for scalars below 0.1.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Arrays = dict[str, npt.NDArray[Any]]

_BESIDE = Path(__file__).parents[3] / "shared" / "parity"
FOLDER = Path(os.environ.get("AVIPIPE_PARITY_DIR", _BESIDE)) / "metrics"


def arrays(name: str) -> Arrays:
    """The arrays of a fixture by name; the test is skipped where it is absent."""
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no {path}: set AVIPIPE_PARITY_DIR to the folder of reference numbers")
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def named(fixture: Arrays, pattern: str) -> list[str]:
    """What the group of a pattern finds in the names of a fixture, in order: never nothing."""
    found = [match[1] for key in fixture if (match := re.fullmatch(pattern, key))]
    assert found, f"no {pattern!r} in the fixture"
    return found


def close(found: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float) -> None:
    """Hold an array or a scalar to a reference number."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    largest = float(np.abs(expected).max(initial=0.0))
    scale = largest if expected.ndim == 0 and 0 < largest < 0.1 else max(1.0, largest)
    assert np.abs(found - expected).max(initial=0.0) <= tolerance * scale
