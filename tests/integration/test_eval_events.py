"""SI-SDR inside and outside of an event, on a background whose event is known to the sample."""

from pathlib import Path

import pytest

from avipipe.errors import ManifestError
from avipipe.evaluate.cases import Case, completed, read_cases, write_cases
from avipipe.evaluate.controls import controls_of
from avipipe.evaluate.measuring import CaseScores, measure
from tests.integration import lavfi

NAMES = ["sisdr.outside", "sisdr.inside", "sisdr.mix"]
BACKGROUND = "0.1*sin(2*PI*440*t)"
EVENT = "0.3*sin(2*PI*1000*t)*between(t,1,2)"


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A tone under a background, from 1 s to 2 s, that its source has not."""
    sounds = {"source": BACKGROUND, "edit": f"{BACKGROUND}+{EVENT}"}
    files = {
        name: lavfi.write(
            tmp_path / f"{name}.mkv",
            video="color=s=64x48:r=24:d=3",
            audio=f"aevalsrc='{sound}':s=48000:d=3",
            options=("-c:a", "pcm_s16le"),
        )
        for name, sound in sounds.items()
    }
    (found,) = completed([Case(name="a", method="m", events_s=((1.0, 2.0),), **files)], "test")
    return found


def value(found: CaseScores, name: str) -> float:
    score = found.scores[name].value
    assert score is not None, found.scores[name]
    return score


def test_the_background_is_kept_outside_of_the_event(case: Case, tmp_path: Path) -> None:
    shifted = next(each for each in controls_of([case], seed=0) if each.control == "shifted")
    own, late = measure([case, shifted], NAMES, tmp_path / "work")
    assert value(own, "sisdr.outside") > 80
    assert value(own, "sisdr.inside") == pytest.approx(20 * -0.4771, abs=0.1)  # 0.1 to 0.3
    assert value(own, "sisdr.inside") < value(own, "sisdr.mix") < value(own, "sisdr.outside")
    assert value(late, "sisdr.outside") < 20


@pytest.mark.parametrize(
    ("events_s", "name", "status", "reason"),
    [
        ((), "sisdr.outside", "skipped", "no events"),
        (((0.0, 9.0),), "sisdr.outside", "undefined", "no moment outside of the events"),
        (((7.0, 9.0),), "sisdr.inside", "undefined", "no moment in the events"),
    ],
)
def test_where_there_is_no_such_moment(
    case: Case,
    tmp_path: Path,
    events_s: tuple[tuple[float, float], ...],
    name: str,
    status: str,
    reason: str,
) -> None:
    (found,) = measure([case.model_copy(update={"events_s": events_s})], [name], tmp_path / "work")
    assert found.scores[name].status == status
    assert reason in found.scores[name].reason


def test_events_are_measured_anew_and_survive_a_manifest(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    write_cases(path, [case])
    assert read_cases(path)[0].events_s == ((1.0, 2.0),)
    moved = case.model_copy(update={"events_s": ((1.5, 2.0),)})
    values = [
        value(measure([each], ["sisdr.outside"], tmp_path / "work")[0], "sisdr.outside")
        for each in (case, moved)
    ]
    assert values[0] > values[1]
    for broken in ("[[2.0, 1.0]]", "[[-1, 1]]", "[[0, NaN]]"):
        path.write_text(f'{{"name": "a", "method": "m", "events_s": {broken}}}\n')
        with pytest.raises(ManifestError, match="a later end"):
            read_cases(path)
