"""Reads a review page back."""

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ReviewPage:
    """What a page holds: its words, and of each clip its video and the outlines of its mask."""

    html: str
    data: dict[str, Any]
    videos: list[bytes]
    outlines: list[list[str]]

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
        [json.loads(texts[f"outlines-{n}"]) for n in places],
    )
