"""DAVIS 2016 and 2017: sequences with the mask of each object, without prompts or sound.

Layout: `ImageSets/…/SPLIT.txt`, `JPEGImages/480p/SEQUENCE/00000.jpg` …,
`Annotations/480p/SEQUENCE/00000.png` …, in whose palette index 0 is the background.

Source: Perazzi et al. (CVPR 2016); Pont-Tuset et al., arXiv:1704.00675.
"""

from pathlib import Path

import numpy as np

from avipipe.errors import MediaError
from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark, inside, read_text
from avipipe.evaluate.benchmarks.sequences import Levels, images_of, read_levels, sequence_case
from avipipe.evaluate.cases import AskedEdit
from avipipe.manifests.rle import Mask

_VOID = 255
"""Index of what is left out of account in DAVIS 2017: no object."""


def load_davis16(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """DAVIS 2016: one case a sequence, whose mask is all that is not background.

    Its list names pairs of images in the first release, and sequences in the one of 2017.
    """
    lists = [folder / "ImageSets" / year / f"{split}.txt" for year in ("2016", "480p")]
    path = next((each for each in lists if each.is_file()), lists[0])
    return LoadedBenchmark([_asked(folder, files, name, None) for name in _sequences(path)])


def load_davis17(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """DAVIS 2017: a case for each object of a sequence."""
    asked: list[AskedEdit] = []
    for name in _sequences(folder / "ImageSets" / "2017" / f"{split}.txt"):
        objects = [_asked(folder, files, name, index) for index in _objects(folder, name)]
        asked += objects or [_asked(folder, files, name, None)]
    return LoadedBenchmark(asked)


def _sequences(path: Path) -> list[str]:
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            first = line.split()[0].lstrip("/")
            inside(path.parent, first, f"{path}, line {number}")
            found.append(Path(first).parent.name if Path(first).suffix else first)
    return list(dict.fromkeys(found))


def _objects(folder: Path, name: str) -> list[int]:
    """The indices in a sequence; none where an annotation is broken, which its case tells."""
    images = images_of(folder / "Annotations" / "480p" / name)
    try:
        found = {int(index) for path in images for index in np.unique(read_levels(path))}
    except MediaError:
        return []
    return sorted(found - {0, _VOID})


def _asked(folder: Path, files: Path, name: str, index: int | None) -> AskedEdit:
    """A case of one object; of all that is not background where there is no index."""

    def is_inside(levels_HW: Levels) -> Mask:
        return levels_HW > 0 if index is None else levels_HW == index

    video, masks = (folder / kind / "480p" / name for kind in ("JPEGImages", "Annotations"))
    case_name = name if index is None else f"{name}-{index}"
    return sequence_case(case_name, name, video, masks, is_inside, files)
