"""A split of a dataset that avipipe published.

Its clips have captions, labels and masks; what is asked of them is written by whoever asks.
"""

from pathlib import Path

from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark
from avipipe.evaluate.cases import AskedEdit
from avipipe.evaluate.datasets import unpacked


def load_dataset(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """The clips of a split; those of one source are one group. `avipipe verify` checks shards."""
    clips = unpacked(folder, files, split=split)
    asked = [
        AskedEdit(
            name=name,
            source=clip.video,
            mask=clip.mask,
            source_prompt=clip.caption,
            label=clip.label,
            group=clip.group,
        )
        for name, clip in clips.items()
    ]
    return LoadedBenchmark(
        asked, licences=frozenset(c.licence or "unknown" for c in clips.values())
    )
