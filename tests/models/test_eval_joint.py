"""Metrics of picture and sound together, from a case to its score, on tiny checkpoints."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchaudio")
pytest.importorskip("torchvision")

from avipipe.evaluate.cases import Case, completed  # noqa: E402
from avipipe.evaluate.controls import controls_of  # noqa: E402
from avipipe.evaluate.measuring import measure  # noqa: E402
from avipipe.evaluate.metric import Score  # noqa: E402
from tests.integration import lavfi  # noqa: E402
from tests.models import test_eval_synchformer  # noqa: E402
from tests.models.tiny_imagebind import imagebind_state  # noqa: E402

DESYNC = ["desync.synchformer", "desync.expected"]
BOUND = ["javis.score", "javis.avh", "ac.avbench", "ac.imagebind", "ac.coherent"]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both networks, under the names of the public files."""
    monkeypatch.setenv("AVIPIPE_WEIGHTS_DIR", str(tmp_path))
    torch.save(imagebind_state(), tmp_path / "imagebind_huge.pth")
    torch.save(test_eval_synchformer.state(), tmp_path / "synchformer_state_dict.pth")
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})


def case(folder: Path, duration_s: float) -> Case:
    graphs = {"source": "testsrc2=s=64x48:r=24", "edit": "testsrc2=s=64x48:r=24,negate"}
    sound = lavfi.sound(duration_s=duration_s)
    files = {
        name: lavfi.write(
            folder / f"{name}.mp4", video=f"{graph},trim=end={duration_s}", audio=sound
        )
        for name, graph in graphs.items()
    }
    (found,) = completed([Case(name="a", method="m", **files)], "test")
    return found


def value(score: Score) -> float:
    assert score.value is not None, score
    return score.value


@pytest.mark.usefixtures("weights")
def test_imagebind_scores_a_case_by_each_protocol(tmp_path: Path) -> None:
    own = case(tmp_path, 2.5)
    cases = [own, *controls_of([own], seed=0)]
    found = {each.case.control: each.scores for each in measure(cases, BOUND, tmp_path / "work")}
    for name in BOUND:
        assert value(found[""][name]) != value(found["copy"][name])
        assert value(found["frozen"][name]) != value(found["copy"][name])
    for name in BOUND[:4]:
        assert value(found["shifted"][name]) != value(found["copy"][name])
    assert value(found["shifted"]["ac.coherent"]) == value(found["copy"]["ac.coherent"])


@pytest.mark.slow  # two ends of 4.8 s at 224 px: 20 s
@pytest.mark.usefixtures("weights")
def test_synchformer_scores_a_case_that_lasts(tmp_path: Path) -> None:
    own = case(tmp_path, 4.9)
    cases = [own, *controls_of([own], seed=0)]
    found = {each.case.control: each.scores for each in measure(cases, DESYNC, tmp_path / "work")}
    assert 0 <= value(found[""]["desync.synchformer"]) <= 2
    expected = "desync.expected"
    assert value(found["shifted"][expected]) != value(found["copy"][expected])
    assert value(found["frozen"][expected]) != value(found["copy"][expected])


@pytest.mark.usefixtures("weights")
def test_short_edits_have_no_desync(tmp_path: Path) -> None:
    (found,) = measure([case(tmp_path, 1.0)], [*DESYNC, "ac.avbench"], tmp_path / "work")
    assert {each.status for each in found.scores.values()} == {"undefined"}
    assert "4.8 s" in found.scores["desync.synchformer"].reason
    assert "0.5 a second" in found.scores["ac.avbench"].reason
