"""Cases are measured once, whatever happens, and each score has a status."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from avipipe.annotators.weighted import Weighted
from avipipe.evaluate import catalogue
from avipipe.evaluate.case_view import CaseView
from avipipe.evaluate.cases import Case, completed, write_cases
from avipipe.evaluate.controls import controls_of
from avipipe.evaluate.measuring import CaseScores, measure, works
from avipipe.evaluate.metric import Metric, Score
from avipipe.evaluate.metrics.undefined import Undefined
from avipipe.evaluate.run import measure_all
from tests.integration import lavfi

ROOT = Path(__file__).parents[2]
NAMES = ["ssim.full", "psnr.outside"]


class Heavy(Weighted):
    """A model whose weights are not here."""

    needs = ("wan21_t2v_14b",)


class Heard:
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.num_cases = 0
        self.done: list[CaseScores] = []

    def planned(self, num_cases: int) -> None:
        self.num_cases = num_cases

    def measured(self, done: Sequence[CaseScores]) -> None:
        self.done += done


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for number, colour in enumerate(("red", "green")):
        graph = f"testsrc2=s=64x48:r=24:d=1,drawbox=c={colour}:t=fill:w=20:h=20"
        sound = lavfi.sound(duration_s=1.0)
        found.append(lavfi.write(folder / f"{number}.mp4", video=graph, audio=sound))
    return found


@pytest.fixture
def cases(clips: list[Path]) -> list[Case]:
    edits = zip(clips, clips[::-1], strict=True)
    own = [Case(name=a.stem, method="ours", source=a, edit=b) for a, b in edits]
    return completed(own, "test")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> dict[str, Metric]:
    """A list of metrics of the test's own, in this process."""
    own: dict[str, Metric] = {}
    monkeypatch.setattr("avipipe.evaluate.measuring.METRICS", own)
    return own


def metric(measure: object, *needs: str, **more: object) -> Metric:
    told = {"sense": "higher", "family": "picture", "words": "", "protocol": "", **more}
    return Metric(measure=measure, needs=needs, **told)  # type: ignore[arg-type]


def statuses(found: list[CaseScores]) -> dict[str, str]:
    return {each.case.name: each.scores["m"].status for each in found}


def test_each_score_is_ok_skipped_failed_or_undefined(
    cases: list[Case], fake: dict[str, Metric], tmp_path: Path
) -> None:
    def none(view: CaseView) -> float:
        raise Undefined("it is dark")

    def broken(view: CaseView) -> float:
        raise ZeroDivisionError("of nothing")

    fake |= {
        "one": metric(lambda view: 1),
        "none": metric(none),
        "broken": metric(broken),
        "nan": metric(lambda view: float("nan")),
        "infinite": metric(lambda view: float("inf")),
        "masked": metric(lambda view: 1.0, "mask"),
        "heavy": metric(lambda view: 1.0, extractors=(Heavy,)),
    }
    (found,) = measure(cases[:1], list(fake), tmp_path)
    assert {
        name: (each.status, each.value, each.reason) for name, each in found.scores.items()
    } == {
        "one": ("ok", 1.0, ""),
        "none": ("undefined", None, "it is dark"),
        "broken": ("failed", None, "ZeroDivisionError: of nothing"),
        "nan": ("undefined", None, "it came out as nan"),
        "infinite": ("undefined", None, "it came out as inf"),
        "masked": ("skipped", None, "the case has no mask"),
        "heavy": (
            "skipped",
            None,
            "weights wan21_t2v_14b are missing; run `avipipe weights pull wan21_t2v_14b`",
        ),
    }


def test_what_is_stored_is_not_measured_again_and_what_failed_is(
    cases: list[Case], fake: dict[str, Metric], tmp_path: Path
) -> None:
    calls: list[str] = []

    def counted(view: CaseView) -> float:
        calls.append("ok")
        return 1.0

    def failing(view: CaseView) -> float:
        calls.append("bad")
        raise ValueError

    fake |= {"good": metric(counted), "bad": metric(failing)}
    for _ in range(2):
        measure(cases[:1], list(fake), tmp_path)
    assert calls == ["ok", "bad", "bad"]
    fake["good"] = replace(fake["good"], version=2)
    measure(cases[:1], ["good"], tmp_path)
    assert calls[3:] == ["ok"]


def test_the_store_goes_by_content_not_by_name(
    cases: list[Case], fake: dict[str, Metric], tmp_path: Path
) -> None:
    calls: list[int] = []

    def counted(view: CaseView) -> float:
        calls.append(1)
        return 1.0

    fake["m"] = metric(counted)
    assert cases[0].edit is not None
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(cases[0].edit.read_bytes())
    renamed = cases[0].model_copy(update={"edit": copy, "name": "other", "method": "theirs"})
    prompted = renamed.model_copy(update={"target_prompt": "A cat."})
    for case in (cases[0], renamed, prompted):
        measure([case], ["m"], tmp_path / "work")
    assert len(calls) == 2


def test_what_is_damaged_in_the_store_is_measured_again(
    cases: list[Case], fake: dict[str, Metric], tmp_path: Path
) -> None:
    fake["m"] = metric(lambda view: 2.0)
    measure(cases[:1], ["m"], tmp_path)
    (file,) = (tmp_path / "scores").rglob("*.json")
    file.write_bytes(file.read_bytes()[:-9])
    (found,) = measure(cases[:1], ["m"], tmp_path)
    assert (found.scores["m"].value, found.num_measured) == (2.0, 1)


def test_bad_files_fail_alone_with_their_reason(
    cases: list[Case], fake: dict[str, Metric], tmp_path: Path
) -> None:
    fake["m"] = metric(lambda view: 1.0)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0 ftypisom")
    good = cases[0]
    bad = [
        good.model_copy(update={"name": "broken", "edit": broken}),
        good.model_copy(update={"name": "gone", "edit": tmp_path / "gone.mp4"}),
        good.model_copy(update={"name": "told", "edit": None, "problem": "no edit of it"}),
    ]
    found = measure([*bad, good], ["m"], tmp_path / "work")
    assert statuses(found) == {"broken": "failed", "gone": "failed", "told": "failed", "0": "ok"}
    reasons = {each.case.name: each.scores["m"].reason for each in found}
    assert "cut off" in reasons["broken"]
    assert "gone.mp4" in reasons["gone"]
    assert reasons["told"] == "no edit of it"


@pytest.mark.parametrize(
    ("video", "audio", "reason"),
    [
        (lavfi.picture(size="120x160"), lavfi.sound(), "they do not show the same"),
        (
            lavfi.picture(size="64x48", duration_s=0.4),
            lavfi.sound(duration_s=0.4),
            "less than half is common",
        ),
        (lavfi.picture(size="64x48", duration_s=1.0), None, "the edit has no sound"),
    ],
)
def test_an_edit_that_cannot_be_compared_is_undefined(
    video: str,
    audio: str | None,
    reason: str,
    clips: list[Path],
    fake: dict[str, Metric],
    tmp_path: Path,
) -> None:
    edit = lavfi.write(tmp_path / "edit.mp4", video=video, audio=audio)
    fake["m"] = metric(lambda view: 0.0, "sound" if audio is None else "pairs")
    case = Case(name="a", method="m", source=clips[0], edit=edit)
    (found,) = measure([case], ["m"], tmp_path / "work")
    assert found.scores["m"].status == "undefined"
    assert reason in found.scores["m"].reason


def test_any_number_of_workers_gives_the_same(cases: list[Case], tmp_path: Path) -> None:
    everything = [*cases, *controls_of(cases, seed=0)]
    values = []
    for workers in (1, 2):
        heard = Heard()
        found = measure_all(
            everything, NAMES, tmp_path / f"{workers}", workers=workers, listener=heard
        )
        assert (heard.num_cases, len(heard.done)) == (len(everything), len(everything))
        values.append([(e.case.name, e.case.method, e.scores["ssim.full"].value) for e in found])
    assert values[0] == values[1]
    copies = [value for _, method, value in values[0] if method == "control: copy"]
    assert copies == pytest.approx([1.0, 1.0])


SLOW = """
import sys, time
from pathlib import Path
from avipipe.evaluate.cases import read_cases
from avipipe.evaluate.measuring import measure
for case in read_cases(Path(sys.argv[1])):
    measure([case], ["ssim.full"], Path(sys.argv[2]))
    print("done", flush=True)
    time.sleep(60)
"""


def test_what_was_done_before_a_sigkill_is_not_done_again(
    cases: list[Case], tmp_path: Path
) -> None:
    write_cases(tmp_path / "cases.jsonl", cases)
    words = [sys.executable, "-c", SLOW, str(tmp_path / "cases.jsonl"), str(tmp_path / "work")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        process.kill()
    done = [measure([case], ["ssim.full"], tmp_path / "work")[0].num_measured for case in cases]
    assert done == [0, 1]


def _die(cases: tuple[Case, ...], metrics: list[str], work: Path) -> list[CaseScores]:
    """A decoder that takes its process with it at one source."""
    if cases[0].name == "0":
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return [CaseScores(case, {"m": Score("ok", 1.0)}) for case in cases]


def test_a_process_that_dies_costs_the_case_that_killed_it(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avipipe.evaluate.run.measure", _die)
    found = measure_all(cases, ["m"], tmp_path, workers=2, listener=Heard())
    assert statuses(found) == {"0": "failed", "1": "ok"}
    assert "died" in found[0].scores["m"].reason


def test_cases_of_one_source_are_measured_together(cases: list[Case]) -> None:
    everything = [*cases, *controls_of(cases, seed=0)]
    parts = works(everything)
    assert sorted(len(part) for part in parts) == [5, 5]
    assert {len({case.source for case in part}) for part in parts} == {1}


def test_names_of_metrics_say_their_protocol() -> None:
    for name, each in catalogue.METRICS.items():
        assert len(name.split(".")) == 2, name
        assert each.words.endswith("."), name
        assert each.protocol.endswith("."), name
