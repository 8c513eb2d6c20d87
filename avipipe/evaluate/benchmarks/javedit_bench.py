"""JAVEditBench: 150 instructions for 147 videos with speech.

Layout: `benchmark_150.csv`, and the videos where it says, such as `benchmark_videos/HASH.mp4`.

Source: RyanChenYN/JAVEdit@1fffd7b (arXiv:2606.03168).
"""

from collections import Counter
from pathlib import Path

from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark, inside, read_rows
from avipipe.evaluate.cases import AskedEdit

_COLUMNS = ("video", "task", "prompt", "detailed_prompt_cn")


def load_javedit(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """All of it; the label is the task. The second instruction for HASH is called HASH-2."""
    asked, seen = [], Counter[str]()
    for where, row in read_rows(folder / "benchmark_150.csv", _COLUMNS):
        source = inside(folder, row["video"], where)
        seen[source.stem] += 1
        nth = seen[source.stem]
        asked.append(
            AskedEdit(
                name=source.stem if nth == 1 else f"{source.stem}-{nth}",
                source=source,
                instruction=row["prompt"],
                label=row["task"],
            )
        )
    return LoadedBenchmark(asked)
