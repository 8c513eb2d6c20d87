"""Naming an editing method, its settings, and what a page tells of a method that knows little."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from avipipe.editor.avi_edit.method import AviEditConfig
from avipipe.editor.edit.chunks import plan_chunks
from avipipe.editor.edit.config import EditConfig
from avipipe.editor.edit.method import Method
from avipipe.editor.edit.methods import METHODS, find_method, load_config
from avipipe.editor.edit.trace import (
    ChunkTrace,
    EditTrace,
    MaskTrace,
    StepTrace,
    Trace,
    VideoTrace,
    write_trace,
)
from avipipe.errors import ConfigError


class Plain:
    """No method, and one whose settings have no steps."""

    settings = EditConfig


class PlainMethod(Method):
    """As far as reading its settings goes."""

    name = "plain"
    settings = EditConfig


def test_options_stand_for_settings_of_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(None, ["solver.shift=1"], {"--steps": "7", "--offload": None})
    assert isinstance(config, AviEditConfig)
    assert (config.solver.num_steps, config.solver.shift) == (7, 1)
    monkeypatch.setitem(METHODS, "plain", f"{__name__}:PlainMethod")
    assert load_config(None, ["method=plain"], {"--profile": "light"}).profile == "light"
    with pytest.raises(ConfigError, match="--steps: the method plain has no such setting"):
        load_config(None, ["method=plain"], {"--steps": "7"})
    with pytest.raises(ConfigError, match="solver"):
        load_config(None, ["method=plain", "solver.shift=1"])


@pytest.mark.parametrize("name", [f"{__name__}:Plain", "json:loads"])
def test_what_is_no_method_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a class of methods"):
        find_method(name)


def test_an_unknown_method_is_told_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'avi_edit'"):
        find_method("avi-edit")


def test_a_package_that_is_missing_is_no_wrong_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "lost", "a_package_that_nobody_has.method:Lost")
    with pytest.raises(ModuleNotFoundError):
        find_method("lost")


def test_chunks_too_short_for_the_method_are_refused() -> None:
    with pytest.raises(ConfigError, match="chunk_frames: expected 9 or more"):
        plan_chunks(30, 5, 8)


def test_a_page_leaves_out_what_a_method_does_not_know(tmp_path: Path) -> None:
    steps = (StepTrace(step=0, seconds=0.5), StepTrace(step=1, seconds=None, sigma=0.25))
    edit = EditTrace(
        instruction="make it green",
        prompt="a green ball",
        task="edit",
        seed=0,
        mask=MaskTrace(kind="box", precision=0, given_share=0.25, refined_share=0.25),
        sound={"way": "keep"},
        chunks=(ChunkTrace(index=0, start=0, num_frames=5, seconds=1.0, steps=steps),),
    )
    video = VideoTrace(
        path="ball.mp4",
        sha256="0" * 64,
        size=(96, 64),
        fps=24.0,
        duration_s=0.25,
        has_sound=True,
        scaled_size=(96, 64),
        edited_size=(96, 64),
        cut_left_px=0,
        cut_top_px=0,
        num_frames=5,
    )
    write_trace(
        tmp_path, Trace(video=video, edits=(edit,), models={}, settings={}, seconds=1), [[]]
    )
    page = (tmp_path / "trace.html").read_text()
    assert "2 steps" in page
    assert "0.2500" in page
    assert "<polyline" not in page
