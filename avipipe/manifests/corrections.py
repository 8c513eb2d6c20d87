"""What people made of edit pairs: the edits of a review page's export, a JSON object a line."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from avipipe.errors import ManifestError
from avipipe.manifests.dataset import read_index
from avipipe.manifests.destination import Destination
from avipipe.manifests.edits import EditPair
from avipipe.manifests.exports import ExportLine, ExportWords, read_export
from avipipe.manifests.tables import CLIPS_NAME, PublishedTables

Corrections = Mapping[str, Mapping[str, EditPair | None]]
"""Clip id -> name of one of its pairs -> what it is to be; None: it is left out."""


class EditCorrection(ExportLine):
    """What one person made of one edit pair.

    Attributes:
        name: of the pair, in its clip.
        pair: as it is to be; None: it was rejected.
    """

    name: str = Field(min_length=1)
    pair: EditPair | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pair is not None and self.pair.name != self.name:
            raise ValueError(f"expected the pair {self.name}, found {self.pair.name}")
        return self


_WORDS = ExportWords(
    "correction",
    "clip_id, name, pair (an edit pair, or null where it was rejected), dataset and reviewed_at",
    "correct or reject edits on the page that `avipipe review` writes, and export them there",
)


def read_corrections(path: Path, known_clip_ids: Collection[str]) -> Corrections:
    """Read a file of corrections.

    A pair may have any number of lines as long as all say the same. Exports of several people may
    stand in one file.

    Args:
        known_clip_ids: of the dataset that the corrections are for.
    Raises:
        ConfigError: there is no such file, or it cannot be read.
        ManifestError: it is empty, cut short, holds what is no correction, is about clips that are
            not in the dataset, or contradicts itself.
    """
    found: defaultdict[str, dict[str, EditPair | None]] = defaultdict(dict)
    first: dict[tuple[str, str], int] = {}
    for number, line in read_export(path, EditCorrection, _WORDS, known_clip_ids):
        pairs, place = found[line.clip_id], first.setdefault((line.clip_id, line.name), number)
        if pairs.setdefault(line.name, line.pair) != line.pair:
            raise ManifestError(
                f"{path}: lines {place} and {number} say different things of {line.name} of "
                f"{line.clip_id}. Look again and leave one of them"
            )
    return dict(found)


def read_corrections_of(path: Path, dataset: str) -> Corrections:
    """Read a file of corrections for a published dataset, whichever splits they are of.

    Args:
        dataset: local folder or fsspec URL.
    Raises:
        ConfigError, ManifestError: as of `read_corrections`; or there is no dataset, or its
            manifest is damaged.
    """
    destination = Destination(dataset)
    index = read_index(destination)
    if index is None:
        raise ManifestError(f"{dataset}: expected a published dataset, found no dataset.json")
    with PublishedTables(destination, index) as published:
        known = {row["clip_id"] for row in published.rows(CLIPS_NAME, ["clip_id"])}
    return read_corrections(path, known)


def corrected(
    clip_id: str, edits: Sequence[EditPair], corrections: Corrections
) -> tuple[EditPair, ...]:
    """The pairs of a clip as people left them, without those that they rejected.

    Raises:
        ManifestError: a pair that the clip has not was corrected.
    """
    own = corrections.get(clip_id, {})
    names = [pair.name for pair in edits]
    if strangers := [name for name in own if name not in names]:
        raise ManifestError(
            f"{clip_id} has no edit {', '.join(strangers)} that could be corrected, but "
            f"{', '.join(names) or 'none at all'}; expected corrections from a review of this "
            "dataset"
        )
    kept = (own.get(pair.name, pair) for pair in edits)
    return tuple(pair for pair in kept if pair is not None)
