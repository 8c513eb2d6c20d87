"""Motion fidelity of films, with masks and controls, as `avipipe eval run` measures it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from avipipe.evaluate.cases import Case, completed
from avipipe.evaluate.controls import controls_of
from avipipe.evaluate.measuring import measure
from tests.integration import lavfi

NAMES = ["motion_fidelity.dis", "motion_fidelity.dis_box"]


def waves(path: Path, *, left: int, right: int) -> Path:
    """Ripples that go sideways by so many pixels a picture, in the left and the right half."""
    along = f"(X-N*if(lt(X,80),{left},{right}))"
    ripples = f"128+50*sin({along}/6)*cos(Y/9)+40*sin({along}/11+Y/5)"
    graph = f"nullsrc=s=160x120:r=24:d=1.2,geq=lum='{ripples}':cb=128:cr=128"
    return lavfi.write(path, video=graph, audio=None)


def test_motion_of_the_whole_and_in_the_mask(tmp_path: Path) -> None:
    source = waves(tmp_path / "source.mp4", left=2, right=-1)
    edit = waves(tmp_path / "edit.mp4", left=2, right=2)
    mask = tmp_path / "mask.png"
    half = np.zeros((120, 160), np.uint8)
    half[:, 82:] = 255
    cv2.imwrite(str(mask), half)
    own = Case(name="a", method="ours", source=source, edit=edit, mask=mask)
    cases = [*completed([own], "test"), *controls_of([own], seed=0)[:2]]
    found = [
        {name: each.scores[name].value for name in NAMES}
        for each in measure(cases, NAMES, tmp_path / "work")
    ]
    ours, copy, frozen = found
    assert copy == pytest.approx(dict.fromkeys(NAMES, 1.0))
    assert frozen == dict.fromkeys(NAMES, 0.0)
    assert ours[NAMES[1]] == pytest.approx(0, abs=0.1)
    assert ours[NAMES[0]] == pytest.approx(0.75, abs=0.12)  # one half is kept, the other lost
    kept = sorted((tmp_path / "work/features").rglob("*.npy"))
    assert len(kept) == 3  # of the source, the edit and what is frozen, for both metrics
