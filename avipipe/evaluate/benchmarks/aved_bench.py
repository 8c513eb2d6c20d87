"""AvED-Bench: 110 clips of VGGSound of 10 s, with prompts of source and target.

Layout: `avedit_dataset_v3.csv`, and `NAME.mp4` beside it or in `videos/`. The clips are fetched by
oneself; the list is at genjib.github.io/project_page/AVED/assets/avedit_dataset_v3.csv.

Source: AvED (WACV 2026, arXiv:2503.20782).
"""

from pathlib import Path

from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark, folder_of, inside, read_rows
from avipipe.evaluate.cases import AskedEdit

_COLUMNS = ("name", "src", "trg", "src_category", "trg_category")


def load_aved(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """All of it; labels, and the instruction, are the categories of source and target."""
    media, asked = folder_of(folder, "videos", "video"), []
    for where, row in read_rows(folder / "avedit_dataset_v3.csv", _COLUMNS):
        clip = inside(media, row["name"], where)
        asked.append(
            AskedEdit(
                name=row["name"],
                source=clip.with_name(f"{clip.name}.mp4"),
                source_prompt=row["src"],
                target_prompt=row["trg"],
                instruction=f"replace the {row['src_category']} with {row['trg_category']}",
                label=row["src_category"],
                target_label=row["trg_category"],
            )
        )
    return LoadedBenchmark(asked)
