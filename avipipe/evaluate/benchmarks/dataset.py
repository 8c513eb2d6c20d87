"""A split of a dataset that avipipe published.

Where its clips have edit pairs, these are asked for. Else they have captions, labels and masks, and
what is asked of them is written by whoever asks.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark
from avipipe.evaluate.case_folders import told_by
from avipipe.evaluate.cases import AskedEdit
from avipipe.evaluate.datasets import SourceClip, unpacked
from avipipe.manifests.corrections import Corrections, corrected, read_corrections_of
from avipipe.manifests.edits import ClipEdit


def load_dataset(
    folder: Path, files: Path, split: str, pairs: Path | None = None
) -> LoadedBenchmark:
    """The clips of a split; those of one source are one group. `avipipe verify` checks shards.

    Args:
        pairs: file of edit pairs as people corrected them, which go before the dataset's own.
    """
    corrections = {} if pairs is None else read_corrections_of(pairs, str(folder))
    clips = unpacked(folder, files, split=split)
    if corrections or any(clip.edits or clip.problem for clip in clips.values()):
        asked = [each for name, clip in clips.items() for each in _asked(name, clip, corrections)]
    else:
        asked = [_case(name, clip, {}) for name, clip in clips.items()]
    return LoadedBenchmark(
        asked, licences=frozenset(c.licence or "unknown" for c in clips.values())
    )


def _asked(name: str, clip: SourceClip, corrections: Corrections) -> Iterator[AskedEdit]:
    """The pairs of a clip; one that stands for all if they cannot be read."""
    if clip.problem:
        yield _case(name, clip, {"problem": clip.problem})
        return
    for pair in corrected(name, clip.edits, corrections):
        told = {"mask": clip.mask_of(pair.kind), **told_by(pair)}
        yield _case(ClipEdit(clip_id=name, pair=pair).name, clip, told)


def _case(name: str, clip: SourceClip, told: dict[str, Any]) -> AskedEdit:
    return AskedEdit.model_validate(
        {
            "name": name,
            "source": clip.video,
            "mask": clip.mask,
            "source_prompt": clip.caption,
            "label": clip.label,
            "group": clip.group,
            **told,
        }
    )
