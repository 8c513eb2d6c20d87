"""How far the boxes of a dataset's masks are those that a person drew."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from avipipe.annotators.mask_quality import box_overlap
from avipipe.manifests.evidence import MaskEvidence
from avipipe.manifests.records import Keep
from avipipe.media.crop import WHOLE, in_crop
from avipipe.media.normalize import FPS
from avipipe.pipeline.accounting import ItemState
from avipipe.pipeline.workspace import Workspace
from avipipe.stages.look import crop_of

Box = tuple[float, float, float, float]
SAME_BOX = 0.5


@dataclass(frozen=True)
class Drawn:
    """The instance at a time of a file; of several boxes each is right."""

    t: float
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Compared:
    """A clip with a mask: overlap with what was drawn at each time, in order."""

    file: str
    start_s: float
    kept: bool
    predicted_jf: float | None
    overlaps: tuple[float, ...]


def read_drawn(path: Path) -> dict[str, list[Drawn]]:
    """File -> boxes, from a table with a line for each box, or with a column `boxes` of all."""
    drawn: dict[str, list[Drawn]] = {}
    with path.open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            if "boxes" in row:
                found = json.loads(row["boxes"] or "[]")
            else:
                player = row["box_with_player"]
                found = [{"t": float(row["t"]), "box": json.loads(row["box"])}]
                if player:
                    found[0]["box_with_player"] = json.loads(player)
            for each in found:
                boxes = [each[name] for name in ("box", "box_with_player") if each.get(name)]
                drawn.setdefault(row["file"], []).append(
                    Drawn(float(each["t"]), tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in boxes))
                )
    return drawn


def compare(dataset: Path, drawn: Mapping[str, Sequence[Drawn]]) -> Iterator[Compared]:
    """Every clip that has a mask and in whose time something was drawn."""
    with Workspace.at(str(dataset)).survey() as (survey, lines):
        for state in survey.clips(lines):
            masks = _masks(state)
            crop = _crop(state)
            file = Path(state.row.source.uri).name
            span = state.row.span
            assert span is not None
            times = [each for each in drawn.get(file, ()) if span.start_s <= each.t < span.end_s]
            if masks is not None and times:
                overlaps = tuple(_overlap(masks, each, span.start_s, crop) for each in times)
                kept = not state.stopped
                yield Compared(file, span.start_s, kept, masks.predicted_jf, overlaps)


def table(rows: Sequence[Compared]) -> Iterator[str]:
    yield "| clip | decision | predicted J&F | overlaps |"
    yield "|---|---|---:|---|"
    for row in rows:
        decision = "kept" if row.kept else "dropped"
        told = "-" if row.predicted_jf is None else f"{row.predicted_jf:.2f}"
        overlaps = ", ".join(f"{each:.2f}" for each in row.overlaps)
        yield f"| {row.file} from {row.start_s:.1f} s | {decision} | {told} | {overlaps} |"
    for name, group in (("kept", [row for row in rows if row.kept]), ("with a mask", rows)):
        if group:
            boxes = [each >= SAME_BOX for row in group for each in row.overlaps]
            clips = [fmean(row.overlaps) >= SAME_BOX for row in group]
            yield (
                f"{name}: overlap of {SAME_BOX} or more in {fmean(boxes):.0%} of {len(boxes)} "
                f"boxes, on average in {fmean(clips):.0%} of {len(clips)} clips"
            )


def _masks(state: ItemState) -> MaskEvidence | None:
    for visit in state.visits:
        if visit.stage.name == "mask" and visit.record is not None:
            outcome = visit.record.outcome
            if isinstance(outcome, Keep):
                found = MaskEvidence.model_validate(outcome.evidence)
                return found if found.persistence else None
    return None


def _crop(state: ItemState) -> Box:
    """What of the source's picture the masks are of."""
    for visit in state.visits:
        if visit.stage.name == "cut" and visit.record is not None:
            outcome = visit.record.outcome
            if isinstance(outcome, Keep):
                return crop_of(outcome.evidence)
    return WHOLE


def _overlap(masks: MaskEvidence, drawn: Drawn, start_s: float, crop: Box) -> float:
    """With the better of the boxes that were drawn, in what is left of the picture."""
    number = round((drawn.t - start_s) * float(FPS) / masks.box_step_frames)
    box = masks.boxes[min(number, len(masks.boxes) - 1)]
    if box is None:
        return 0.0
    return max(box_overlap(box, in_crop(each, crop)) for each in drawn.boxes)
