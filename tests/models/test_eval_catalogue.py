"""Metrics with models, from a case to its score, on tiny random checkpoints."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from avipipe.evaluate.cases import Case, completed  # noqa: E402
from avipipe.evaluate.controls import controls_of  # noqa: E402
from avipipe.evaluate.extractors.networks.syncnet import SyncNet  # noqa: E402
from avipipe.evaluate.measuring import measure  # noqa: E402
from avipipe.evaluate.metric import Score  # noqa: E402
from avipipe.synth import render  # noqa: E402
from avipipe.synth import write_clip as write_synth  # noqa: E402
from avipipe.weights import entry, find  # noqa: E402
from tests.integration import lavfi  # noqa: E402
from tests.models.grounded_sam import write_grounding_dino  # noqa: E402
from tests.models.locked import lock  # noqa: E402
from tests.models.single_file import lock_file  # noqa: E402
from tests.models.tiny_clip import write_clip  # noqa: E402

LIPS = [
    *("syncc.syncnet", "syncd.syncnet", "syncc.at0", "syncd.at0"),
    *("syncoffset.syncnet", "syncoffset.share"),
    *("syncc.latentsync", "syncoffset.latentsync"),
]
NAMES = ["clipt.b32", "fc.b32", "fcall.b32", "sema.b32", "temps.b32", "clipt.l14"]


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CLIP that is here, under the name of ViT-B/32."""
    write_clip(tmp_path / "clip_vitb32")
    lock(monkeypatch, tmp_path, "clip_vitb32")
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})


@pytest.fixture
def case(tmp_path: Path) -> Case:
    graphs = {
        "source": "testsrc2=s=64x48:r=24:d=0.5",
        "edit": "mandelbrot=s=64x48:r=24,trim=end=0.5",
    }
    files = {
        name: lavfi.write(tmp_path / f"{name}.mp4", video=graph, audio=lavfi.sound(duration_s=0.5))
        for name, graph in graphs.items()
    }
    (found,) = completed(
        [Case(name="a", method="m", source_prompt="a", target_prompt="b", **files)], "test"
    )
    return found


@pytest.mark.usefixtures("clip")
def test_clip_scores_a_case_and_its_controls(case: Case, tmp_path: Path) -> None:
    cases = [case, *controls_of([case], seed=0)]
    found = {each.case.control: each.scores for each in measure(cases, NAMES, tmp_path / "work")}
    own, frozen = found[""], found["frozen"]
    assert all(own[name].status == "ok" for name in NAMES[:-1]), own
    assert own["clipt.l14"].status == "skipped"
    assert "avipipe weights pull clip_vitl14" in own["clipt.l14"].reason
    assert value(frozen["fc.b32"]) == pytest.approx(100.0, abs=1e-3)
    assert value(own["fc.b32"]) < 99.999
    product = value(own["fcall.b32"]) / 100 * value(own["clipt.b32"])
    assert value(own["temps.b32"]) == pytest.approx(product)
    assert found["shifted"]["fc.b32"].value == found["copy"]["fc.b32"].value
    assert value(found["copy"]["clipt.b32"]) != value(own["clipt.b32"])
    # Of the edit, the source, and the source frozen: whatever number of metrics look at each.
    assert len([*(tmp_path / "work/features").rglob("*.npy")]) == 3


@pytest.mark.usefixtures("clip")
def test_what_clip_saw_is_kept_for_other_words(case: Case, tmp_path: Path) -> None:
    measure([case], ["clipt.b32"], tmp_path / "work")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work/features").rglob("*.npy")}
    assert len(kept) == 1
    other = case.model_copy(update={"target_prompt": "z"})
    (found,) = measure([other], ["clipt.b32", "fc.b32"], tmp_path / "work")
    assert found.num_measured == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.usefixtures("clip")
def test_clip_tells_the_class_that_was_asked_for(case: Case, tmp_path: Path) -> None:
    pair = {"label": "a", "target_label": "z"}
    there = case.model_copy(update=pair)
    back = case.model_copy(update={"label": "z", "target_label": "a"})
    same = case.model_copy(update={"label": "z", "target_label": "z"})
    found = measure([there, back, same, case], ["obj.clip"], tmp_path / "work")
    one, other = (value(each.scores["obj.clip"]) for each in found[:2])
    assert one + other == pytest.approx(1.0)
    assert found[2].scores["obj.clip"].value == 0.0, "a tie counts against it"
    assert found[3].scores["obj.clip"].status == "skipped"


@pytest.mark.parametrize(("bias", "share"), [(-20.0, 0.0), (20.0, 1.0)])
def test_a_detector_finds_what_was_asked_for(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bias: float, share: float
) -> None:
    write_grounding_dino(tmp_path / "grounding_dino", bias=bias)
    lock(monkeypatch, tmp_path, "grounding_dino")
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})
    (found,) = measure(
        [case.model_copy(update={"target_label": "dog"})], ["obj.det"], tmp_path / "work"
    )
    assert found.scores["obj.det"].value == share


@pytest.mark.slow
@pytest.mark.skipif(find(entry("yunet")) is None, reason="needs the weight yunet")
def test_lips_are_scored_where_a_face_stays(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find(entry("yunet"))
    assert found is not None
    (tmp_path / found.path.name).symlink_to(found.path)
    torch.manual_seed(0)
    torch.save(SyncNet().state_dict(), tmp_path / "syncnet_v2.model")
    lock_file(monkeypatch, tmp_path / "syncnet_v2.model", "syncnet")
    monkeypatch.setattr("avipipe.evaluate.catalogue.embeddings.READY", {})
    face = tmp_path / "face.mp4"
    write_synth(render("speaker", seed=0, duration_s=4.4, height_px=360), face)
    spoken = case.model_copy(update={"source": face, "edit": face})
    scores = {
        each.case.control: each.scores
        for each in measure([spoken, *controls_of([spoken], 0)], LIPS, tmp_path / "work")
    }
    values = [[value(scores[control][name]) for name in LIPS] for control in ("", "copy")]
    assert values[0] == values[1]
    assert value(scores["shifted"]["syncd.at0"]) != value(scores["copy"]["syncd.at0"])
    assert value(scores["copy"]["syncd.at0"]) >= value(scores["copy"]["syncd.syncnet"])
    offset_s = value(scores["copy"]["syncoffset.syncnet"])
    assert offset_s * 25 == pytest.approx(round(offset_s * 25))
    assert value(scores["copy"]["syncoffset.share"]) == float(offset_s < 0.05)
    # One track of more than 4 s is all that there is, for either.
    assert value(scores[""]["syncc.latentsync"]) == pytest.approx(
        value(scores[""]["syncc.syncnet"])
    )
    signed_s = value(scores[""]["syncoffset.latentsync"])
    assert abs(signed_s) == pytest.approx(value(scores[""]["syncoffset.syncnet"]))
    (faceless,) = measure([case], LIPS, tmp_path / "work")
    assert faceless.scores["syncc.syncnet"].reason == "no face was followed for 4 s"
    assert faceless.scores["syncc.latentsync"].reason == "no face was followed for 2 s"


def value(score: Score) -> float:
    assert score.value is not None
    return score.value
