"""VGGSound and AudioSet: lists of 10 s of YouTube videos, which are fetched by oneself.

Layout: the list, and the clips beside it, in `video/` or in `videos/`, called ID_000030.mp4 (whole
seconds, as most who fetch VGGSound call them), ID_30000_40000.mp4 (milliseconds, as Synchformer
does) or, of AudioSet, ID.mp4. AudioSet's `class_labels_indices.csv`, where it is there, gives its
classes their names.

Source: Chen et al., VGGSound (ICASSP 2020); Gemmeke et al., Audio Set (ICASSP 2017).
"""

import math
from pathlib import Path

from avipipe.errors import ManifestError
from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark, folder_of, inside, read_rows
from avipipe.evaluate.cases import AskedEdit

_VGGSOUND_S = 10.0
"""How long each clip of VGGSound is."""


def load_vggsound(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """VGGSound by its `vggsound.csv`, which has no header; clips of one video are one group."""
    columns = ("id", "start_s", "label", "split")
    media, asked = folder_of(folder, "video", "videos"), []
    for where, row in read_rows(folder / "vggsound.csv", columns, has_header=False):
        if split in ("", row["split"]):
            start_s = _seconds(row["start_s"], where)
            names = _names(row["id"], start_s, start_s + _VGGSOUND_S)
            asked.append(_clip(media, row["id"], names, row["label"], where))
    return LoadedBenchmark(asked)


def load_audioset(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """AudioSet by its `SPLIT_segments.csv`; the label holds all classes of a clip."""
    columns = ("id", "start_s", "end_s", "labels")
    media, classes, asked = folder_of(folder, "video", "videos"), _classes(folder), []
    path = folder / f"{split}_segments.csv"
    for where, row in read_rows(path, columns, has_header=False, comment="#"):
        start_s, end_s = (_seconds(row[key], where) for key in ("start_s", "end_s"))
        names = (*_names(row["id"], start_s, end_s), f"{row['id']}.mp4")
        label = "; ".join(classes.get(mid, mid) for mid in row["labels"].split(","))
        asked.append(_clip(media, row["id"], names, label, where))
    return LoadedBenchmark(asked)


def _clip(media: Path, video: str, names: tuple[str, ...], label: str, where: str) -> AskedEdit:
    """A clip under whichever name it has; under the first where it has none."""
    paths = [inside(media, name, where) for name in names]
    source = next((path for path in paths if path.is_file()), paths[0])
    return AskedEdit(name=paths[0].stem, source=source, label=label, group=video)


def _names(video: str, start_s: float, end_s: float) -> tuple[str, str]:
    milliseconds = f"{round(1000 * start_s)}_{round(1000 * end_s)}"
    return f"{video}_{int(start_s):06d}.mp4", f"{video}_{milliseconds}.mp4"


def _seconds(text: str, where: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ManifestError(f"{where}: expected seconds from 0 on, found {text!r}")
    return seconds


def _classes(folder: Path) -> dict[str, str]:
    path = folder / "class_labels_indices.csv"
    if not path.is_file():
        return {}
    return {row["mid"]: row["display_name"] for _, row in read_rows(path, ("mid", "display_name"))}
