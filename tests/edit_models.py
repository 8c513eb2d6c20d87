"""Models that edit in tests: a run of the tiny network, as `avipipe train` leaves it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from avipipe.annotators.base import Mask
from avipipe.cli import main
from avipipe.editor.avi_edit.method import AviEdit, AviEditConfig
from avipipe.editor.avi_edit.network.loading import build
from avipipe.editor.avi_edit.sizes import EditorConfig
from avipipe.editor.avi_edit.train.config import load_config


def fresh_run(folder: Path) -> Path:
    """A run with random weights."""
    config = load_config("tiny", dataset="none")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    network = build(EditorConfig.preset("tiny"))
    # What is new begins with zeros: it would neither hear nor look at controls.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    network.save_pretrained(folder / "model")
    return folder


def settings(run: Path, **changes: Any) -> AviEditConfig:
    """Edits in few steps."""
    solver = {"num_steps": 3, "shift": 1.0, "guidance": 1.0, **changes.pop("solver", {})}
    return AviEditConfig.model_validate({"models": {"network": run}, "solver": solver, **changes})


def avi_edit(run: Path, **changes: Any) -> AviEdit:
    return AviEdit.load(settings(run, **changes))


def beyond(mask_FHW: Mask, margin_px: int) -> Mask:
    """Pixels further from a mask than the margin in which it is blended."""
    away_px = [
        cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        if mask.any()
        else np.full(mask.shape, np.inf)
        for mask in mask_FHW
    ]
    return np.asarray(np.stack(away_px) >= margin_px)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Quiet:
    """A `Listener` that remembers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.num_planned = self.num_done = self.num_skipped = 0

    def said(self, text: str) -> None:
        self.texts.append(text)

    def planned(self, num_steps: int) -> None:
        self.num_planned = num_steps

    def stepped(self) -> None:
        self.num_done += 1

    def skipped(self, num_steps: int) -> None:
        self.num_skipped += num_steps


def refused(words: Sequence[object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code of `avipipe edit` on words that it refuses, and what it says."""
    with pytest.raises(SystemExit) as caught:
        main(["edit", *map(str, words)])
    assert isinstance(caught.value.code, int)
    return caught.value.code, capsys.readouterr().err


def with_options(given: Mapping[str, str], **changes: str | Path | None) -> list[str]:
    """Words of `avipipe edit` for options, some of them others, or left out where they are None."""
    changed = {f"--{key.replace('_', '-')}": value for key, value in changes.items()}
    pairs = {**given, **changed}.items()
    return [str(word) for pair in pairs if pair[1] is not None for word in pair]
