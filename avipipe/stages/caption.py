"""Caption: a sentence on the scene, by a model or from the evidence."""

from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from avipipe.annotators.base import Captioner, Frames
from avipipe.errors import AnnotatorError
from avipipe.manifests.records import Keep, Outcome
from avipipe.media.decode import read_frames
from avipipe.media.normalize import VIDEO_NAME
from avipipe.media.probe import probe
from avipipe.stages.annotated import AnnotatedStage
from avipipe.stages.base import Item
from avipipe.text import MAX_NAME_CHARS, safe_text


class CaptionConfig(BaseModel):
    """How clips are captioned; the backend is chosen by role."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    height_px: int = Field(360, ge=64, description="Short side of the frames that a model sees.")


class Caption(AnnotatedStage):
    """Describes a clip. Evidence: `text`, `label`, `backend`, `confidence`."""

    name = "caption"
    version: ClassVar[int] = 2
    level: ClassVar[Literal["source", "clip"]] = "clip"
    needs = ("listen", "look", "cut", "mask")

    def __init__(self, config: CaptionConfig, *, captioner: Captioner) -> None:
        super().__init__(config, {"caption": captioner})
        self.config = config
        self._captioner = captioner

    def run(self, item: Item, folder: Path) -> Outcome:
        frames_THWC = frames_of(
            item, wanted=self._captioner.num_frames, height_px=self.config.height_px
        )
        caption = self._captioner.caption(frames_THWC, evidence=item.evidence)
        if not caption.text.strip():
            raise AnnotatorError(message=f"{self._captioner.name} gave an empty caption")
        return Keep(
            {
                "text": safe_text(caption.text),
                "label": safe_text(caption.label, max_chars=MAX_NAME_CHARS),
                "backend": self.backend_names()["caption"],
                "confidence": caption.confidence,
            }
        )


def frames_of(item: Item, *, wanted: int, height_px: int) -> Frames:
    """Frames (T, H, W, 3) for a model, evenly spread over a clip; `item` needs `cut`.

    Args:
        wanted: T; 0 decodes nothing.
    """
    if wanted == 0:
        return np.zeros((0, 1, 1, 3), dtype=np.uint8)
    path = item.folders["cut"] / VIDEO_NAME
    info = probe(path)
    duration_s = item.evidence["cut"]["duration_s"]
    return read_frames(
        path,
        info,
        start_s=0.0,
        end_s=duration_s,
        fps=wanted / Fraction(duration_s).limit_denominator(1000),
        height_px=height_px,
    )
