"""`avipipe edit --batch DATASET --pairs`: what each edit pair becomes, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from avipipe.cli import cli
from avipipe.editor.avi_edit.method import AviEdit
from avipipe.editor.common.shards import ShardDataset
from avipipe.editor.edit.clips import read_pairs
from avipipe.evaluate.benchmarks.dataset import load_dataset
from avipipe.manifests.corrections import EditCorrection
from avipipe.manifests.edits import EditPair
from avipipe.manifests.rle import area, decode, read_masks
from tests.edit_models import fresh_run, refused
from tests.edit_pairs import edit_pair, member_of, put_edits
from tests.integration.editor_shards import Scene, publish_scenes
from tests.wan_models import tiny_wan

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = ("--steps", "1", "--set", "solver.guidance=1", "--set", "output.preview_height_px=32")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips without edit pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    made = [Scene(kind) for kind in ("bounce", "strike", "bounce")]
    return publish_scenes(folder / "set", made, folder=folder)


@pytest.fixture(scope="module")
def names(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    index = tmp_path_factory.mktemp("index")
    return [sample.key for sample in ShardDataset(str(scenes), "train", index=index).samples]


@pytest.fixture
def dataset(scenes: Path, tmp_path: Path) -> Path:
    """A copy, which may be given edits."""
    shutil.copytree(scenes, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_run(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wan(tmp_path_factory.mktemp("weights") / "wan")


def called(*words: object) -> Result:
    return CliRunner().invoke(cli, ["edit", *map(str, words)], catch_exceptions=False)


def asked_for(dataset: Path, out: Path, *words: object) -> list[object]:
    return ["--batch", dataset, "--split", "train", "--out", out, *words]


def traces(out: Path) -> dict[str, dict[str, Any]]:
    found = out.glob("*/trace.json")
    return {path.parent.name: json.loads(path.read_bytes()) for path in found}


def write_corrections(path: Path, *lines: tuple[str, str, EditPair | None]) -> Path:
    told = {"dataset": "set", "reviewed_at": "2026-01-02T03:04:05Z"}
    corrections = [
        EditCorrection.model_validate({"clip_id": clip, "name": name, "pair": pair, **told})
        for clip, name, pair in lines
    ]
    path.write_text("".join(f"{line.model_dump_json()}\n" for line in corrections))
    return path


def test_each_pair_is_a_job_and_a_bad_one_costs_the_others_nothing(
    dataset: Path,
    names: list[str],
    fresh: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, (good, bare, broken) = tmp_path / "out", names
    coarse = edit_pair(precision=2, instruction="turn the dog into a cat")
    gone, high = edit_pair("delete"), edit_pair("attribute", precision=9)
    edits = {good: member_of(coarse, gone, high), bare: member_of(), broken: b'{"edits": [1]}'}
    put_edits(dataset, edits)
    words = [*asked_for(dataset, out, "--pairs"), "--model", fresh, *QUICK]
    code, message = refused(words, capsys)
    assert code == 5
    assert "4 edits of 3 clips" in message
    assert "1 of the clips have no edit pairs" in message
    assert f"2 of 4 jobs failed: {good}-attribute-1, {broken};" in message
    assert "expected a precision of 0 to 4, got 9" in message
    assert f"{broken}: expected `edits`, a list of edit pairs" in message
    made = traces(out)
    assert made.keys() == {f"{good}-same_class-1", f"{good}-delete-1"}
    edited, deleted = made[f"{good}-same_class-1"], made[f"{good}-delete-1"]
    assert edited["asked"] == {"clip_id": good, "pair": coarse.model_dump()}
    (edit,) = edited["edits"]
    assert (edit["prompt"], edit["instruction"]) == (coarse.target_caption, coarse.instruction)
    assert (edit["task"], edit["mask"]["precision"]) == ("edit", 2)
    (exact,) = deleted["edits"]
    assert (exact["task"], exact["mask"]["precision"]) == ("deletion", 0)
    assert exact["prompt"] == "The empty background of the scene."
    assert exact["mask"]["given_share"] < edit["mask"]["given_share"]
    assert "same_class-1 of" in (out / f"{good}-same_class-1" / "trace.html").read_text()

    # People mend what is wrong: the rest is done, and stays.
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/edited.mp4")}
    mended = high.model_copy(update={"precision": 4, "made_by": "person"})
    put_back = write_corrections(
        tmp_path / "edits.jsonl", (good, mended.name, mended), (good, gone.name, None)
    )
    words = [*asked_for(dataset, out, "--pairs", put_back), "--model", fresh, *QUICK]
    code, message = refused(words, capsys)
    assert f"1 of 3 jobs failed: {broken};" in message
    assert "1 edit pairs were rejected" in message
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert traces(out)[f"{good}-attribute-1"]["asked"]["pair"]["made_by"] == "person"

    # What was edited is no answer to a pair that was changed since.
    other = coarse.model_copy(update={"target_caption": "A lion roars.", "made_by": "person"})
    write_corrections(put_back, (good, other.name, other))
    code, message = refused(words, capsys)
    assert (code, "is of another edit" in message) == (5, True), message


def test_methods_that_compare_read_both_captions_and_the_agent_its_own_words(
    dataset: Path, names: list[str], wan: Path, tmp_path: Path
) -> None:
    louder = edit_pair(number=2, sound_instruction="add a knock at 0.5 s")
    put_edits(dataset, {names[0]: member_of(edit_pair(), louder)})
    out = tmp_path / "out"
    words = ["--model", wan, "--method", "flow_anchor", "--steps", "3", "--audio", "agent"]
    small = ("--set", "output.size=[96,64]", "--set", "models.precision=fp32")
    done = called(*asked_for(dataset, out, "--pairs"), *words, *small)
    assert done.exit_code == 0, done.output
    made = {name.removeprefix(f"{names[0]}-"): trace for name, trace in traces(out).items()}
    edits = {name: trace["edits"][0] for name, trace in made.items()}
    assert {edit["source_prompt"] for edit in edits.values()} == {louder.source_caption}
    assert edits["same_class-2"]["prompt"] == louder.target_caption
    assert edits["same_class-1"]["sound"]["way"] == "file"
    assert edits["same_class-2"]["sound"]["way"] == "agent"
    page = out / f"{names[0]}-same_class-2" / edits["same_class-2"]["sound"]["trace"]
    assert louder.sound_instruction in page.read_text()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--pairs"], 2, "stages.publish.edit_splits=[train]"),
        (["--pairs", "--precision", "1"], 2, "expected --pairs or --precision"),
        (["--instruction", "x", "--pairs"], 2, "expected --pairs or --instruction"),
        (["--pairs", "--audio", "a.wav"], 2, "expected keep or agent"),
        (["--pairs", "--method", "audio_scenic"], 2, "changes what is around an instance"),
        (["--pairs", "--method", "aved", "--audio", "agent"], 2, "edits the sound itself"),
        (["--pairs", "nowhere.jsonl"], 2, "nowhere.jsonl: cannot be read"),
    ],
)
def test_what_pairs_do_not_go_with_is_refused(
    words: list[str],
    code: int,
    told: str,
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, message = refused(asked_for(scenes, tmp_path / "out", *words), capsys)
    assert (found, told in message) == (code, True), message
    assert not (tmp_path / "out").exists()


def test_pairs_are_of_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["a.mp4", "--instruction", "x", "--pairs"], "--batch DATASET"),
        (["--batch", "jobs.jsonl", "--pairs"], "expected --batch JSONL or --pairs"),
    ):
        code, message = refused([*words, "--out", tmp_path / "out"], capsys)
        assert (code, told in message) == (2, True), message


def test_corrections_of_what_there_is_not_are_refused(
    dataset: Path, names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_edits(dataset, {names[0]: member_of(edit_pair())})
    for clip, name, told in (
        ("elsewhere", "same_class-1", "1 of 1 clips with corrections are not in the dataset"),
        (names[0], "sound-1", f"{names[0]} has no edit sound-1"),
        (names[1], "same_class-1", "but none at all"),
    ):
        path = write_corrections(tmp_path / "edits.jsonl", (clip, name, None))
        words = asked_for(dataset, tmp_path / "out", "--pairs", path)
        code, message = refused(words, capsys)
        assert (code, told in message) == (3, True), message


def test_what_is_inserted_comes_beside_the_instance(
    dataset: Path, names: list[str], tmp_path: Path
) -> None:
    """The same place for who edits it and for who measures it."""
    name = names[0]
    put_edits(dataset, {name: member_of(edit_pair("insert"), edit_pair("attribute"))})
    jobs = read_pairs(
        str(dataset), "train", tmp_path / "jobs", AviEdit, audio="keep", seed=0, corrections={}
    )
    inserted, changed = (entry.load().edits[0] for entry in jobs.entries)
    there, exact = (read_masks(each.mask.file) for each in (inserted, changed) if each.mask.file)
    assert inserted.task == "insertion"
    for moved, instance in zip(there.frames, exact.frames, strict=True):
        assert not (decode(moved, there.size) & decode(instance, there.size)).any()
    moved_px, instance_px = (
        sum(area(c, each.size) for c in each.frames) for each in (there, exact)
    )
    assert moved_px > 0.5 * instance_px
    asked = load_dataset(dataset, tmp_path / "files", "train").asked
    masks = {case.name: case.mask for case in asked if case.mask is not None}
    assert read_masks(masks[f"{name}-insert-1"]) == there
    assert read_masks(masks[f"{name}-attribute-1"]) == exact


@pytest.mark.slow  # from shards to a report: 15 s
def test_what_was_edited_is_measured_by_kind(
    dataset: Path, names: list[str], fresh: Path, tmp_path: Path
) -> None:
    out, run = tmp_path / "out", tmp_path / "run"
    put_edits(dataset, {names[0]: member_of(edit_pair(precision=4), edit_pair("delete"))})
    done = called(*asked_for(dataset, out, "--pairs"), "--model", fresh, *QUICK)
    assert done.exit_code == 0, done.output
    words = ["run", f"--source={dataset}", f"--edit=tiny={out}", f"--out={run}", "--workers=1"]
    done = CliRunner().invoke(cli, ["eval", *words, "--metric=leakage.mean", "--no-controls"])
    assert done.exit_code == 0, done.output
    rows = pq.read_table(run / "clips.parquet").to_pylist()
    assert {row["name"]: (row["kind"], row["status"]) for row in rows} == {
        f"{names[0]}-delete-1": ("delete", "ok"),
        f"{names[0]}-same_class-1": ("same_class", "ok"),
    }
    assert {row["group"] for row in rows} == {names[0].split("_")[0]}
    assert "By kind of edit" in (run / "report.html").read_text()
