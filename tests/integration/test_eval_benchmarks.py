"""Benchmarks as they lie on disk become cases; what is missing, broken or hostile is told."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from avipipe.cli import cli
from avipipe.errors import AvipipeError, ConfigError, ManifestError
from avipipe.evaluate.benchmarks import BENCHMARKS, load_benchmark
from avipipe.evaluate.benchmarks.loaded import Coverage
from avipipe.evaluate.case_folders import cases_of_asked
from avipipe.evaluate.cases import AskedEdit
from avipipe.evaluate.mask_view import MaskView
from avipipe.evaluate.metrics.five_acc import FiveQuestions
from avipipe.evaluate.views import MediaView
from avipipe.manifests.shards import MEMBERS
from avipipe.stages.publish import PublishConfig
from tests.edit_pairs import edit_pair, member_of, put_edits
from tests.integration import lavfi
from tests.publishing import by_id, publish_all, record

SIZE = (32, 48)


def load(name: str, folder: Path, split: str | None = None) -> tuple[list[AskedEdit], Coverage]:
    return load_benchmark(name, folder, folder.parent / "files", split)


def written(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def film(path: Path, rate: int = 24, duration_s: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return lavfi.write(path, video=f"testsrc2=s=48x32:r={rate}:d={duration_s}", audio=None)


def masks(folder: Path, columns: list[int], suffix: str = ".jpg") -> None:
    """An image each, white, or of index 1 in a palette, left of a column; 2 in the last row."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, column in enumerate(columns):
        inside = np.zeros(SIZE, np.uint8)
        inside[:, :column] = 1
        if suffix == ".png":
            inside[-1] = 2
            image = Image.fromarray(inside).convert("P")
            image.putdata(inside.ravel().tolist())
            image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        else:
            image = Image.fromarray(inside * 255)
        image.save(folder / f"{number:05d}{suffix}")


def pictures(folder: Path, num: int) -> list[tuple[int, int, int]]:
    """JPEGs, each of one colour, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = [(200, 20 + 200 * number // num, 60) for number in range(num)]
    for number, colour in enumerate(colours):
        Image.new("RGB", SIZE[::-1], colour).save(folder / f"{number:05d}.jpg")
    return colours


def mask_of(case: AskedEdit, num_frames: int, folder: Path) -> np.ndarray[Any, Any]:
    assert case.mask is not None
    return MaskView(case.mask, folder).masks(num_frames, SIZE[::-1])


def five(root: Path, *items: dict[str, Any], name: str = "edit1_FiVE.json") -> Path:
    written(root / "data/edit_prompt" / name, json.dumps(items))
    return root


def item(video: str = "dog", **more: Any) -> dict[str, Any]:
    prompts = {"source_prompt": "A dog.", "target_prompt": "A [blue] dog.", "editing_type_id": "3"}
    return {"video_name": video, **prompts, **more}


def davis(root: Path, listed: str, year: str = "2017") -> Path:
    written(root / f"ImageSets/{year}/val.txt", listed)
    masks(root / "Annotations/480p/dog", [10, 20, 30], ".png")
    pictures(root / "JPEGImages/480p/dog", 3)
    return root


def test_five_bench_has_masks_at_the_rate_of_its_videos(tmp_path: Path) -> None:
    asked_of: dict[str, Any] = {
        "source_yes_no_question": None,
        "target_yes_no_question": "Is the dog blue?",
        "multiple_choice_question": "What is it? \na) Brown \nb) Blue",
    }
    root = five(tmp_path / "five", item(**asked_of), item("cat"))
    film(root / "data/videos/dog.mp4", rate=12, duration_s=0.5)
    masks(root / "data/bmasks/dog", [4, 10, 16, 22, 28, 34])
    asked, coverage = load("five-bench", root)
    dog, cat = asked
    assert (dog.name, dog.label, dog.group, dog.problem) == ("edit1-dog", "3", "dog", "")
    assert (dog.source_prompt, dog.target_prompt) == ("A dog.", "A blue dog.")
    assert dog.questions == FiveQuestions(
        target="Is the dog blue?", choice="What is it?  a) Brown  b) Blue"
    )
    assert cat.questions is None
    _, case = cases_of_asked(asked, {"ours": film(tmp_path / "ours/edit1-dog.mp4").parent})
    assert (case.name, case.questions) == (dog.name, dog.questions)
    # Twelve a second, so each mask is of two pictures, and JPEG's halo is outside.
    found = mask_of(dog, 12, tmp_path)
    assert found[:, 0].sum(axis=1).tolist() == [4, 4, 10, 10, 16, 16, 22, 22, 28, 28, 34, 34]
    assert cat.problem.startswith("its source is missing")
    assert cat.problem.endswith("cat.mp4")
    lists = {f"edit{kind}_FiVE.json" for kind in range(2, 7)}
    assert {path.name for path in coverage.missing} == {*lists, "cat.mp4", "cat"}
    assert (coverage.num_asked, coverage.num_found, coverage.licence) == (2, 1, "")


def test_anchor_bench_takes_images_for_a_video_as_they_are(tmp_path: Path) -> None:
    root = five(tmp_path / "anchor", item(), name="edit1_Anchor.json")
    colours = pictures(root / "data/images/dog", 6)
    (case,), _ = load("anchor-bench", root)
    assert case.source is not None
    shown = MediaView(case.source, tmp_path).pictures.motion_THWC
    assert shown.shape == (6, *SIZE, 3)
    assert np.abs(shown.mean(axis=(1, 2)) - colours).max() < 3


def test_davis_has_a_mask_an_object_by_index(tmp_path: Path) -> None:
    asked, coverage = load("davis17", davis(tmp_path / "davis", "dog\ncat\n"))
    cat, first, second = sorted(asked, key=lambda case: case.name)
    assert [case.name for case in (cat, first, second)] == ["cat", "dog-1", "dog-2"]
    assert mask_of(first, 3, tmp_path).sum(axis=(1, 2)).tolist() == [310, 620, 930]
    assert mask_of(second, 3, tmp_path).sum(axis=(1, 2)).tolist() == [48, 48, 48]
    assert (first.source, first.group) == (second.source, "dog")
    assert {path.parts[-3] for path in coverage.missing} == {"JPEGImages", "Annotations"}
    assert cat.problem


@pytest.mark.parametrize("year", ["2016", "480p"])
def test_davis_2016_has_one_mask_a_sequence(tmp_path: Path, year: str) -> None:
    pairs = "".join(
        f"/JPEGImages/480p/dog/{n:05d}.jpg /Annotations/480p/dog/{n:05d}.png\n" for n in range(3)
    )
    root = davis(tmp_path / "davis", "dog" if year == "2016" else pairs, year)
    (case,), _ = load("davis16", root)
    assert mask_of(case, 3, tmp_path).sum(axis=(1, 2)).tolist() == [358, 668, 978]


def test_a_split_of_a_dataset_comes_out_of_its_shards(tmp_path: Path) -> None:
    clips = by_id(record(tmp_path, number, licence="CC0") for number in range(12))
    publish_all(tmp_path / "out", clips)
    index = json.loads((tmp_path / "out/dataset.json").read_text())
    split = "train"
    asked, coverage = load("dataset", tmp_path / "out", split)
    assert len(asked) > 1
    for case in asked:
        assert case.source is not None
        assert case.source.read_bytes() == clips[case.name].files["mp4"].read_bytes()
        assert mask_of(case, 2, tmp_path).any()
    assert (asked[0].source_prompt, asked[0].label) == ("A thing knocks.", "thing")
    assert (coverage.num_found, coverage.licence) == (len(asked), "CC0")
    index["retracted"] = [asked[0].name]
    written(tmp_path / "out/dataset.json", json.dumps(index))
    rest, _ = load("dataset", tmp_path / "out", split)
    assert [case.name for case in rest] == [case.name for case in asked[1:]]
    with pytest.raises(ManifestError, match="check the split"):
        load("dataset", tmp_path / "out", "no")
    next((tmp_path / "out/shards").glob(f"{split}-*")).unlink()
    with pytest.raises(ManifestError, match=rf"expected shards/{split}-.* found no such file"):
        load("dataset", tmp_path / "out", split)


def test_no_shard_writes_outside_the_folder(tmp_path: Path) -> None:
    publish_all(tmp_path / "out", by_id(record(tmp_path, number) for number in range(3)))
    for shard in (tmp_path / "out/shards").iterdir():
        with tarfile.open(shard, "w") as tar:
            for member in MEMBERS:
                tar.addfile(tarfile.TarInfo(f"{tmp_path}/secret.{member}"))
    with pytest.raises(ManifestError, match="expected a clip id"):
        load("dataset", tmp_path / "out", "train")
    assert not list(tmp_path.glob("secret*"))


def test_lists_of_clips_find_them_by_either_name(tmp_path: Path) -> None:
    root = tmp_path / "vgg"
    rows = 'a-b,30,"dog barking, loud",test\nc,1,cat,test\nd,7,cat,test\ne,1,cat,train\n'
    written(root / "vggsound.csv", rows)
    written(root / "video/a-b_000030.mp4")
    written(root / "video/c_1000_11000.mp4")
    (root / "video/d_000007.mp4").symlink_to(tmp_path / "gone.mp4")
    asked, coverage = load("vggsound", root)
    assert [(case.name, case.label, bool(case.problem)) for case in asked] == [
        ("a-b_000030", "dog barking, loud", False),
        ("c_000001", "cat", False),
        ("d_000007", "cat", True),
    ]
    assert [path.name for path in coverage.missing] == ["d_000007.mp4"]
    assert "CC BY 4.0" in coverage.licence


def test_audioset_names_its_classes(tmp_path: Path) -> None:
    head = "# Segments csv created by somebody\n# YTID, start_seconds, end_seconds, labels\n"
    written(
        tmp_path / "set/eval_segments.csv", head + '--x, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n'
    )
    written(
        tmp_path / "set/class_labels_indices.csv", "index,mid,display_name\n0,/m/09x0r,Speech\n"
    )
    written(tmp_path / "set/--x.mp4")
    (case,), _ = load("audioset", tmp_path / "set")
    assert (case.name, case.label, case.problem) == ("--x_000030", "Speech; /t/dd00088", "")


def test_lists_of_edits(tmp_path: Path) -> None:
    head = "video,task,prompt,detailed_prompt_cn\n"
    rows = "v/a.mp4,speech,Say no.,说不\nv/a.mp4,subject,A hat.,帽子\n"
    written(tmp_path / "jav/benchmark_150.csv", head + rows)
    written(tmp_path / "jav/v/a.mp4")
    asked, coverage = load("javeditbench", tmp_path / "jav")
    assert [(case.name, case.instruction) for case in asked] == [
        ("a", "Say no."),
        ("a-2", "A hat."),
    ]
    assert coverage.num_found == 2
    rows = "name,src,trg,src_category,trg_category,more\nx_1,A dog.,A cat.,dog,cat,1\n"
    written(tmp_path / "aved/avedit_dataset_v3.csv", rows)
    written(tmp_path / "aved/x_1.mp4")
    (case,), _ = load("aved-bench", tmp_path / "aved")
    assert (case.target_prompt, case.label, case.problem) == ("A cat.", "dog", "")
    assert case.target_label == "cat"
    assert case.instruction == "replace the dog with cat"


def test_esc50_is_taken_by_fold(tmp_path: Path) -> None:
    rows = "filename,fold,target,category,esc10,src_file,take\n1-7-A-0.wav,1,0,dog,True,7,A\n"
    written(tmp_path / "esc/meta/esc50.csv", rows + "2-8-A-0.wav,2,0,cat,True,8,A\n")
    written(tmp_path / "esc/audio/2-8-A-0.wav")
    (case,), coverage = load("esc50", tmp_path / "esc", "2")
    assert (case.name, case.label, case.group, case.problem) == ("2-8-A-0", "cat", "8", "")
    assert coverage.licence == "CC BY-NC 3.0"
    assert len(load("esc50", tmp_path / "esc")[0]) == 2


HOSTILE = {
    "aved-bench": (
        "avedit_dataset_v3.csv",
        "name,src,trg,src_category,trg_category\nPATH,a,b,c,d\n",
    ),
    "vggsound": ("vggsound.csv", "PATH,1,dog,test\n"),
    "audioset": ("eval_segments.csv", "PATH,1,11,/m/1\n"),
    "esc50": ("meta/esc50.csv", "filename,fold,category,src_file\nPATH,1,dog,1\n"),
    "javeditbench": ("benchmark_150.csv", "video,task,prompt,detailed_prompt_cn\nPATH,a,b,c\n"),
    "davis17": ("ImageSets/2017/val.txt", "PATH\n"),
    "five-bench": ("edit_prompt/edit1_FiVE.json", f"[{json.dumps(item('PATH'))}]"),
}
"""A list of each benchmark whose only line names PATH."""


@pytest.mark.parametrize("path", ["../../secret", "/etc/../secret", "x" * 300, "\x1b"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_list_leads_out_of_its_folder(tmp_path: Path, name: str, path: str) -> None:
    file, text = HOSTILE[name]
    as_json = file.endswith(".json")
    written(
        tmp_path / "b" / file, text.replace("PATH", json.dumps(path)[1:-1] if as_json else path)
    )
    with pytest.raises(ManifestError, match="expected the name of a file below"):
        load(name, tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "file", "text", "says"),
    [
        ("aved-bench", "avedit_dataset_v3.csv", "name,src\na,b\n", "found no trg"),
        ("aved-bench", "avedit_dataset_v3.csv", "", "found no name"),
        ("vggsound", "vggsound.csv", "a,1,dog\n", "line 1: expected 4 columns"),
        ("vggsound", "vggsound.csv", "a,soon,dog,test\n", "expected seconds"),
        ("vggsound", "vggsound.csv", "a,1,dog,test\n" * 2, "found 'a_000001' twice"),
        ("vggsound", "vggsound.csv", "a,1,dog,train\n", "at least one edit"),
        ("esc50", "meta/esc50.csv", "filename,fold,category,src_file\n", "at least one edit"),
        ("vggsound", "vggsound.csv", f"a,1,{'x' * 140_000},test\n", "no CSV"),
        ("five-bench", "edit_prompt/edit1_FiVE.json", "[", "expected JSON"),
        ("five-bench", "edit_prompt/edit1_FiVE.json", "{}", "expected a list"),
        ("five-bench", "edit_prompt/edit1_FiVE.json", "[{}]", "item 1: expected an object"),
        ("manifest", "cases.jsonl", '{"name": "a", "method": "m"}', "`method`"),
        ("dataset", "dataset.json", "{", "dataset.json"),
    ],
)
def test_a_broken_list_is_told(tmp_path: Path, name: str, file: str, text: str, says: str) -> None:
    written(tmp_path / "b" / file, text)
    with pytest.raises(ManifestError, match=says):
        load(name, tmp_path / "b")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_empty_folder_is_none_of_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AvipipeError, match=r"expected|cannot read these cases") as caught:
        load(name, tmp_path / "empty")
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match="check the path"):
        load(name, tmp_path / "none")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help_and_docs_name_it(name: str) -> None:
    told = CliRunner().invoke(cli, ["eval", "cases", "--help"]).output.split("docs/eval.md")[0]
    assert name in told
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs/eval.md").read_text(encoding="utf-8")


def test_a_broken_image_is_the_problem_of_its_case_alone(tmp_path: Path) -> None:
    root = davis(tmp_path / "davis", "dog\ncat\n")
    masks(root / "Annotations/480p/cat", [10], ".png")
    written(root / "JPEGImages/480p/cat/00000.jpg", "no picture")
    written(root / "Annotations/480p/dog/00001.png", "no picture")
    problems = {case.name: case.problem for case in load("davis17", root)[0]}
    assert problems.keys() == {"dog", "cat-1", "cat-2"}
    assert all("expected an image" in problem for problem in problems.values())


def test_cases_are_measured_with_edits_of_their_names(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        film(tmp_path / f"b/{name}.mp4")
    lines = [{"name": f"{n}-1", "source": f"{n}.mp4", "label": n} for n in ("dog", "cat", "gone")]
    written(tmp_path / "b/cases.jsonl", "\n".join(map(json.dumps, lines)))
    film(tmp_path / "ours/dog-1.mp4")

    def run(*words: str) -> Any:
        done = CliRunner().invoke(cli, ["eval", *words, "--json"], catch_exceptions=False)
        return json.loads(done.output)

    out, ours = tmp_path / "cases.jsonl", f"--edit=ours={tmp_path / 'ours'}"
    coverage = run("cases", "manifest", str(tmp_path / "b"), f"--out={out}")
    assert (coverage["num_asked"], coverage["num_found"]) == (3, 2)
    assert coverage["missing"] == [str(tmp_path / "b/gone.mp4")]
    plan = run("run", f"--cases={out}", ours, f"--out={tmp_path / 'm'}", "--dry-run")
    assert plan["cases"] == 3
    with pytest.raises(ManifestError, match="--edit METHOD=FOLDER"):
        run("run", f"--cases={out}", f"--out={tmp_path / 'm'}")
    assert [each["name"] for each in plan["problems"] if each["method"] == "ours"] == [
        "cat-1",
        "gone-1",
    ]
    asked, _ = load("manifest", tmp_path / "b")
    cases = cases_of_asked(asked, {"ours": tmp_path / "ours"})
    assert [(case.name, case.label, bool(case.problem)) for case in cases] == [
        ("cat-1", "cat", True),
        ("dog-1", "dog", False),
        ("gone-1", "gone", True),
    ]


def test_edit_pairs_of_a_dataset_are_what_is_asked(tmp_path: Path) -> None:
    clips = by_id(record(tmp_path, number) for number in range(4))
    publish_all(tmp_path / "out", clips, PublishConfig(splits={"test": 1.0}))
    one, two, three, _ = sorted(clips)
    cat, gone = edit_pair(sound_instruction="let it meow"), edit_pair("delete")
    edits = {one: member_of(cat, gone), two: member_of(), three: b"{"}
    put_edits(tmp_path / "out", edits)
    asked, coverage = load("dataset", tmp_path / "out")
    assert [each.name for each in asked] == [f"{one}-same_class-1", f"{one}-delete-1", three]
    assert (coverage.num_asked, coverage.num_found) == (3, 2)
    assert "its edit pairs are damaged: edits.json" in asked[2].problem
    first = asked[0]
    assert (first.kind, first.label, first.group) == ("same_class", "dog", asked[1].group)
    assert first.source_prompt == cat.source_caption
    assert (first.target_prompt, first.instruction) == (cat.target_caption, cat.instruction)
    assert first.source is not None
    assert first.source.read_bytes() == clips[one].files["mp4"].read_bytes()
    assert first.mask is not None
    assert first.mask.read_bytes() == clips[one].files["masks.json"].read_bytes()

    mended = cat.model_copy(update={"target_caption": "A lion roars.", "made_by": "person"})
    told = {"clip_id": one, "dataset": "set", "reviewed_at": "2026-01-02T03:04:05Z"}
    lines = [
        {**told, "name": cat.name, "pair": mended.model_dump()},
        {**told, "name": gone.name, "pair": None},
    ]
    path = written(tmp_path / "edits.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    words = ["eval", "cases", "dataset", f"{tmp_path / 'out'}", "--out", f"{tmp_path / 'c.jsonl'}"]
    done = CliRunner().invoke(cli, [*words, "--pairs", str(path)], catch_exceptions=False)
    assert "1 of 2 cases are there" in done.output
    told_case = json.loads((tmp_path / "c.jsonl").read_text().splitlines()[0])
    assert (told_case["target_prompt"], told_case["kind"]) == ("A lion roars.", "same_class")
    with pytest.raises(ConfigError, match="davis17 has no edit pairs"):
        load_benchmark("davis17", tmp_path, tmp_path, None, path)
