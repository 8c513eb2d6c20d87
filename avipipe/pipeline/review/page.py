"""Draws the clips to review as one HTML file that needs nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from avipipe import __version__
from avipipe.decision.judge import LimitFinding
from avipipe.decision.model import Contribution
from avipipe.manifests.records import DropReason, Evidence, digest
from avipipe.manifests.samples import last_decision, probability_of
from avipipe.pages.film import Film
from avipipe.pages.mask_page import EDITOR_SCRIPTS, EDITOR_STYLES
from avipipe.pages.render import environment, inside_script, joined, script_hash, shared
from avipipe.pipeline import words
from avipipe.pipeline.review.clips import ReviewClip

_HERE = Path(__file__).parent
_ID_CHARS = 12
"""Digits of a hash that tells lists of clips apart: 48 bits."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point for (sign 1) or against (-1) a clip.

    Attributes:
        log_odds: how much; None of a hard limit that was missed.
    """

    words: str
    sign: int
    log_odds: float | None


@dataclass(frozen=True, slots=True)
class PageClip:
    """A clip on the page: what is said of it; its film stands beside it.

    Attributes:
        because: why it was dropped, in a sentence; empty for a kept one.
        no_mask: why there is none, in a sentence; empty where there is one.
        edits: its edit pairs, as in `edits.json`.
        max_precision: of the masks that they may be given; 0 where it is not known.
    """

    clip_id: str
    decision: Literal["keep", "drop"]
    reason: str
    because: str
    probability: float | None
    source: str
    start_s: float
    end_s: float
    label: str
    caption: str
    no_mask: str
    points: tuple[Point, ...]
    heard: tuple[tuple[str, float], ...]
    width: int
    height: int
    num_frames: int
    edits: tuple[Mapping[str, Any], ...] = ()
    max_precision: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A review page: everything on it but the films.

    Attributes:
        title: of the dataset, for people.
        dataset: the same for labels.
        seed: of the draw.
        num_clips: that were decided on, of which these were drawn.
    """

    title: str
    dataset: str
    seed: int
    num_clips: int
    clips: tuple[PageClip, ...]

    @property
    def page_id(self) -> str:
        """Key of the stored judgements: the same clips in the same order go on."""
        return digest([self.dataset, [clip.clip_id for clip in self.clips]])[:_ID_CHARS]


def page_clip(clip: ReviewClip, film: Film) -> PageClip:
    """Make the text of a clip."""
    evidence = clip.evidence
    caption = evidence.get("caption", {})
    return PageClip(
        clip_id=clip.clip_id,
        decision=clip.decision,
        reason=clip.reason,
        because=words.REASONS[DropReason(clip.reason)] if clip.reason else "",
        probability=probability_of(evidence),
        source=clip.source_uri,
        start_s=clip.start_s,
        end_s=clip.end_s,
        label=str(caption.get("label") or clip.metadata.get("label", "")),
        caption=str(caption.get("text", "")),
        no_mask="" if film.masks else no_mask_words(evidence),
        points=tuple(points(last_decision(evidence))),
        heard=tuple(words.sounds(evidence["listen"])) if "listen" in evidence else (),
        width=film.width,
        height=film.height,
        num_frames=film.num_frames,
        edits=tuple(pair.model_dump(mode="json") for pair in clip.edits),
        max_precision=len(evidence.get("pair", {}).get("mean_iou", ())),
    )


def no_mask_words(evidence: Mapping[str, Evidence]) -> str:
    """Explain why there is no mask, but not why the clip was dropped: it is not judged yet."""
    if "mask" in evidence:
        return "No mask: nothing was found that could be masked."
    return "No mask: none was made of this clip. Judge what is seen and heard."


def points(decision: Evidence) -> Iterator[Point]:
    """Points that a decision rests on: missed hard limits, then arguments, strongest first."""
    for data in decision.get("findings", ()):
        if "measure" not in data:
            return  # decided by an avipipe that had thresholds only
        found = LimitFinding.from_json(data)
        if not found.passed:
            yield Point(words.sentence(found), -1, None)
    arguments = [Contribution(**data) for data in decision.get("contributions", ())]
    for each in sorted(arguments, key=lambda each: -abs(each.log_odds)):
        if each.log_odds:
            yield Point(words.said_by(each), 1 if each.log_odds > 0 else -1, each.log_odds)


def render(page: Page, films: Sequence[Film]) -> str:
    """Render the page: HTML with styles, script, videos and masks inside.

    A content security policy in the page forbids every request and every script but its own, so
    not even a hostile caption could change that.
    """
    own = joined(_HERE / "edits.js", _HERE / "review.js")
    script = '"use strict";\n' + shared(*EDITOR_SCRIPTS) + own
    data = {**asdict(page), "page_id": page.page_id}
    return (
        environment(_HERE)
        .get_template("review.html")
        .render(
            page=page,
            data=inside_script(data),
            films=[(Markup(film.video), inside_script(film.mask_data)) for film in films],
            css=Markup(_styles()),
            script=Markup(script),
            script_hash=script_hash(script),
            version=__version__,
        )
    )


def _styles() -> str:
    """What pages share, the report's, the editor's, and the page's own."""
    report = joined(_HERE.parent / "report" / "report.css")
    return (
        shared("base.css")
        + report
        + shared(*EDITOR_STYLES)
        + joined(_HERE / "review.css", _HERE / "edits.css")
    )
