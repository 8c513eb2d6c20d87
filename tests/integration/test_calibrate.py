"""From labels on a disk to numbers that a dataset is decided by, by commands."""

import copy
import json
import shutil
from pathlib import Path

import pytest

from avipipe.decision.model import read_model
from avipipe.manifests.records import Cost, Keep, Record
from avipipe.pipeline.config import load_config
from avipipe.pipeline.workspace import Workspace
from tests.decisions import GOOD, LOOK, SEEN, STAGES
from tests.integration.builds import avipipe

NUM_CLIPS = 60
COST = Cost(wall_s=0.1, cpu_s=0.1)


def clip_id(number: int) -> str:
    return f"source-{number:02d}_00000000_00005000"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of clips that stand out less and less from what is heard behind them."""
    out = tmp_path_factory.mktemp("calibrate") / "set"
    workspace = Workspace.at(str(out))
    workspace.write_config(load_config(None, ["profile=light"]))
    with workspace.open_ledger() as ledger:
        for number in range(NUM_CLIPS):
            evidence = copy.deepcopy({**GOOD, "look": {**LOOK, **SEEN}})
            evidence["listen"]["noise_floor_dbfs"] = -60.0 + 40.0 * number / NUM_CLIPS
            for stage in STAGES:
                key = f"{stage}-{number}"
                found = Keep(evidence[stage])
                ledger.append(Record(key, stage, clip_id(number), found, COST))
    workspace.write_lines([])
    return out


def labels(folder: Path, verdicts: dict[str, str]) -> Path:
    path = folder / "labels.jsonl"
    rows = [
        {
            "clip_id": name,
            "verdict": verdict,
            "dataset": "set-1",
            "probability": None,
            "reviewed_at": "2026-01-01T00:00:00Z",
            "reviewer": None,
        }
        for name, verdict in verdicts.items()
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_labels_become_numbers_that_decide(dataset: Path, tmp_path: Path) -> None:
    half = NUM_CLIPS // 2
    said = {clip_id(n): "keep" if n < half else "drop" for n in range(NUM_CLIPS)}
    path = tmp_path / "decision.yaml"
    done = avipipe("calibrate", dataset, "--labels", labels(tmp_path, said), "--out", path)
    assert done.code == 0, done.err
    assert done.out.strip() == str(path)
    assert "60 labels: 30 drop, 30 keep" in done.err
    assert "keep-precision 0." in done.err
    model = read_model(path)
    assert "60 clips of this dataset" in model.data
    assert model.figures["keep_precision"].value > 0.8
    chosen = f"stages.decide.model={path}"
    flips = json.loads(avipipe("refilter", "--out", dataset, "--set", chosen, "--json").out)
    after = {flip["clip_id"]: flip["after"] for flip in flips}
    assert after.get(clip_id(NUM_CLIPS - 1)) == "ambience", "what speaks against it is its floor"
    assert after.get(clip_id(0), "keep") == "keep"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({clip_id(n): "keep" for n in range(40)}, "found 40 and 0"),
        ({clip_id(n): "keep" if n < 5 else "drop" for n in range(10)}, "found 5 and 5"),
        ({"nobody_0_1": "keep"}, "not in the dataset: nobody_0_1"),
    ],
)
def test_labels_that_cannot_be_fitted_write_nothing(
    dataset: Path, tmp_path: Path, said: dict[str, str], message: str
) -> None:
    path = tmp_path / "decision.yaml"
    path.write_text("as it was")
    done = avipipe("calibrate", dataset, "--labels", labels(tmp_path, said), "--out", path)
    assert done.code == 3
    assert message in done.err
    assert path.read_text() == "as it was"


def test_a_folder_that_is_not_there_is_told_before_any_work(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "decision.yaml"
    done = avipipe("calibrate", dataset, "--labels", tmp_path / "x.jsonl", "--out", path)
    assert done.code == 2
    assert "make it first" in done.err


def test_a_dataset_whose_work_is_not_here_is_told_from_strange_labels(
    dataset: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "set"
    alone.mkdir()
    shutil.copy(dataset / "config.yaml", alone)
    path = labels(tmp_path, {clip_id(0): "keep"})
    done = avipipe("calibrate", alone, "--labels", path, "--out", tmp_path / "decision.yaml")
    assert done.code == 2
    assert "--work" in done.err
