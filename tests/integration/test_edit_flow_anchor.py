"""Edits by FlowAnchor as people call it, with a tiny random Wan: what is told, and what refused."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from avipipe.cli import cli
from tests.edit_models import fresh_run, refused, with_options
from tests.wan_models import tiny_wan

pytestmark = pytest.mark.usefixtures("one_thread")

FLOW: Mapping[str, str] = {
    "--method": "flow_anchor",
    "--instruction": "make it green",
    "--prompt": "a green cube",
    "--source-prompt": "a red cube",
    "--mask-box": "0.3,0.25,0.4,0.5",
    "--steps": "4",
}
SMALL = ("--set", "output.size=[96,64]", "--set", "models.precision=fp32")


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_wan(tmp_path_factory.mktemp("weights") / "wan")


options = partial(with_options, FLOW)


def test_prompts_without_a_difference_are_told(clip: Path, wan: Path, tmp_path: Path) -> None:
    words = options(source_prompt="A green cube.", model=wan, out=tmp_path / "out")
    done = CliRunner().invoke(cli, ["edit", str(clip), *words, *SMALL], catch_exceptions=False)
    assert done.exit_code == 0
    assert "Note: the prompt has no word that the source prompt has not" in done.output
    trace = json.loads((tmp_path / "out" / "trace.json").read_bytes())
    assert trace["edits"][0]["source_prompt"] == "A green cube."
    assert trace["settings"]["flow_anchor"]["target_guidance"] == 10
    assert [chunk["num_frames"] for chunk in trace["edits"][0]["chunks"]] == [54]
    assert "A green cube." in (tmp_path / "out" / "trace.html").read_text()


def test_captions_of_a_dataset_are_the_source_prompts(
    built: Path, wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = ["--batch", str(built), "--split", "train", "--model", str(wan), *SMALL]
    words = ["--method", "flow_anchor", "--instruction", "make it green", "--steps", "3"]
    words += [*batch, "--out", str(tmp_path / "out")]
    assert refused([*words], capsys)[0] == 5  # nothing says how the scenes shall be
    done = CliRunner().invoke(cli, ["edit", *words, "--prompt", "a green cube"])
    assert done.exit_code == 0, done.output
    traces = [json.loads(path.read_bytes()) for path in (tmp_path / "out").glob("*/trace.json")]
    edits = [trace["edits"][0] for trace in traces]
    assert {edit["prompt"] for edit in edits} == {"a green cube"}
    sources = {edit["source_prompt"] for edit in edits}
    assert len(edits) == len(sources) == 2
    assert all(source.startswith("A ") for source in sources)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source_prompt": None}, "it needs --source-prompt"),
        ({"prompt": None, "source_prompt": None}, "it needs --prompt"),
        ({"anchor_words": "dog"}, "got 'dog'"),
        ({"set": "solver.num_steps=3"}, "unknown key `solver`"),
        ({"set": "flow_anchor.contrast=both"}, "flow_anchor.contrast"),
        ({"method": "flow_anker"}, "did you mean 'flow_anchor'"),
    ],
)
def test_what_it_cannot_do_is_refused(
    changes: dict[str, str | None],
    told: str,
    clip: Path,
    wan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = options(model=wan, out=tmp_path / "out", **changes)
    code, message = refused([str(clip), *words, *SMALL], capsys)
    assert (code, told in message) == (2, True), message
    assert not list(tmp_path.iterdir())


def test_avi_edit_reads_one_prompt(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fresh_run(tmp_path / "run")
    words = options(method="avi_edit", anchor_words="cube", model=run, out=tmp_path / "out")
    code, message = refused([str(clip), *words], capsys)
    assert code == 2
    for option in ("--source-prompt", "--anchor-words"):
        assert f"{option} is of no use to it" in message
