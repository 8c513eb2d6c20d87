"""A captioner that looks at pictures gets as many as it asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from avipipe.annotators.base import Frames, SceneCaption
from avipipe.annotators.embedded.caption import TemplateCaptioner
from avipipe.errors import AnnotatorError
from avipipe.manifests.records import Keep, SourceLine, Span
from avipipe.stages.base import Item
from avipipe.stages.caption import Caption, CaptionConfig
from avipipe.synth import render, write_clip


class Counts(TemplateCaptioner):
    """Says how many pictures of what size it saw."""

    num_frames = 8

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> SceneCaption:
        return SceneCaption(str(frames_THWC.shape), "thing", None)


class IsMute(TemplateCaptioner):
    """Says nothing."""

    def caption(self, frames_THWC: Frames, *, evidence: Mapping[str, Any]) -> SceneCaption:
        return SceneCaption("  ", "thing", None)


def item(folder: Path) -> Item:
    write_clip(render("bounce", 1, duration_s=2.5, height_px=120), folder / "video.mp4")
    line = SourceLine(0, "clip.mp4", None, "list.txt:1")
    evidence = {"cut": {"duration_s": 2.5}, "listen": {}, "look": {}, "mask": {}}
    return Item("clip", line, Span(0.0, 2.5), evidence, {"cut": folder})


def test_frames_are_spread_over_the_clip(tmp_path: Path) -> None:
    outcome = Caption(CaptionConfig(), captioner=Counts()).run(item(tmp_path), tmp_path)
    assert isinstance(outcome, Keep)
    assert outcome.evidence["text"].startswith("(8, 120, ")


def test_an_empty_caption_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AnnotatorError, match="empty caption"):
        Caption(CaptionConfig(), captioner=IsMute()).run(item(tmp_path), tmp_path)
