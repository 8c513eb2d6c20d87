"""ESC-50: 2000 sounds of 5 s in 50 classes, without pictures.

Layout: `meta/esc50.csv`, `audio/*.wav`.

Source: Piczak, ESC: Dataset for Environmental Sound Classification (ACM MM 2015).
"""

from pathlib import Path

from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark, inside, read_rows
from avipipe.evaluate.cases import AskedEdit

_COLUMNS = ("filename", "fold", "category", "src_file")


def load_esc50(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """Sounds cut from one recording are one group.

    Args:
        split: a fold, 1 to 5; all where it is empty.
    """
    return LoadedBenchmark(
        [
            AskedEdit(
                name=Path(row["filename"]).stem,
                source=inside(folder / "audio", row["filename"], where),
                label=row["category"],
                group=row["src_file"],
            )
            for where, row in read_rows(folder / "meta" / "esc50.csv", _COLUMNS)
            if split in ("", row["fold"])
        ]
    )
