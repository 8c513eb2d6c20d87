"""What people said of clips: the export of a review page, a JSON object a line."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from avipipe.errors import ManifestError
from avipipe.manifests.exports import ExportLine, ExportWords, listed, read_export

Verdict = Literal["keep", "drop", "wrong_mask", "unsure"]


class ReviewLabel(ExportLine):
    """One person's verdict on one clip.

    Attributes:
        verdict: `keep` and `drop` as a decision; `wrong_mask`: the clip is good, its mask is not;
            `unsure`: it was looked at, and cannot be told.
        probability: that the clip is good, as it stood when the page was written; None: unknown.
    """

    verdict: Verdict
    probability: Annotated[float, Field(ge=0, le=1)] | None = None


_WORDS = ExportWords(
    "label",
    "clip_id, verdict (keep, drop, wrong_mask or unsure), dataset, probability and reviewed_at",
    "judge clips on the page that `avipipe review` writes, and export them there",
)


def read_labels(path: Path, known_clip_ids: Collection[str]) -> list[ReviewLabel]:
    """Read the labels of a file, one for each clip, in the order of the file.

    A clip may have any number of lines as long as all say the same; its first one counts. Exports
    of several people may stand in one file.

    Args:
        known_clip_ids: of the dataset that the labels are for.
    Raises:
        ConfigError: there is no such file, or it cannot be read.
        ManifestError: it is empty, cut short, holds what is no label, is about clips that are not
            in the dataset, or contradicts itself.
    """
    of_clip: defaultdict[str, list[tuple[int, ReviewLabel]]] = defaultdict(list)
    for number, label in read_export(path, ReviewLabel, _WORDS, known_clip_ids):
        of_clip[label.clip_id].append((number, label))
    _refuse_contradictions(path, of_clip.values())
    return [found[0][1] for found in of_clip.values()]


def _refuse_contradictions(
    path: Path, clips: Collection[Sequence[tuple[int, ReviewLabel]]]
) -> None:
    torn = [found for found in clips if len({label.verdict for _, label in found}) > 1]
    if not torn:
        return
    texts = [
        f"{found[0][1].clip_id} is "
        + ", ".join(f"{label.verdict} in line {number}" for number, label in found)
        for found in torn
    ]
    clips_said = "1 clip has" if len(torn) == 1 else f"{len(torn)} clips have"
    raise ManifestError(
        f"{path}: {clips_said} contradicting verdicts: {listed(texts, '; ')}. Look again and "
        "leave one verdict for each, or delete all lines of a clip that cannot be settled"
    )
