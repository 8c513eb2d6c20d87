"""Reads a review page back."""

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avipipe.manifests.rle import MaskTrack


@dataclass(frozen=True)
class ReviewPage:
    """What a page holds: its words, and of each clip its video and its masks."""

    html: str
    data: dict[str, Any]
    videos: list[bytes]
    masks: list[MaskTrack | None]

    @property
    def clips(self) -> dict[str, dict[str, Any]]:
        return {clip["clip_id"]: clip for clip in self.data["clips"]}


def read_page(path: Path) -> ReviewPage:
    html = path.read_text(encoding="utf-8")
    texts = dict(re.findall(r'<script type="[a-z/]+" id="([a-z0-9-]+)">(.*?)</script>', html))
    data = json.loads(texts["data"])
    places = range(len(data["clips"]))
    return ReviewPage(
        html,
        data,
        [base64.b64decode(texts[f"film-{n}"], validate=True) for n in places],
        [_track(json.loads(texts[f"masks-{n}"])) for n in places],
    )


def _track(data: dict[str, Any] | None) -> MaskTrack | None:
    return None if data is None else MaskTrack.from_json({**data, "fps": 24})
