"""FiVE-Bench, and Anchor-Bench in the same form: pairs of prompts with masks, without sound.

Layout, in the folder or in `data/` below it: `edit_prompt/edit{1..6}_FiVE.json`,
`videos/NAME.mp4` or `images/NAME/00000.jpg` …, and `bmasks/NAME/00000.jpg` ….

Source: Li et al., FiVE (ICCV 2025), MinghanLi/FiVE-Bench@737b30e. 419 pairs are usable.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avipipe.errors import ConfigError, ManifestError
from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark, folder_of, inside, read_text
from avipipe.evaluate.benchmarks.sequences import Levels, sequence_case
from avipipe.evaluate.cases import AskedEdit
from avipipe.evaluate.metrics.five_acc import FiveQuestions
from avipipe.manifests.rle import Mask
from avipipe.text import safe_text

_LISTS = tuple(f"edit{kind}_FiVE.json" for kind in range(1, 7))
"""One for each kind of edit."""
_KEYS = ("video_name", "source_prompt", "target_prompt", "editing_type_id")
_QUESTIONS = {
    "source": "source_yes_no_question",
    "target": "target_yes_no_question",
    "choice": "multiple_choice_question",
}
"""Question -> its key; items without the last two have none."""

_WHITE = 127
"""Levels above this are inside: the middle of 0 to 255. FiVE-Bench's own code takes all above 0, so
that the halo which JPEG puts around a mask is inside, too."""


def load_five(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """FiVE-Bench, or one kind of its edits, such as `edit3`."""
    root = folder_of(folder, "data")
    lists = [name for name in _LISTS if not split or name.startswith(f"{split}_")]
    if not lists:
        raise ConfigError(f"--split {split}: FiVE-Bench has edit1 to edit6")
    return _load(root, files, [root / "edit_prompt" / name for name in lists])


def load_anchor(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """Anchor-Bench, whose files are not published: any lists in the form of FiVE-Bench."""
    root = folder_of(folder, "data")
    return _load(root, files, sorted((root / "edit_prompt").glob("*.json")))


def _load(root: Path, files: Path, lists: list[Path]) -> LoadedBenchmark:
    there = [path for path in lists if path.is_file()]
    if not there:
        raise ConfigError(f"{root}: expected edit_prompt/{_LISTS[0]} or its like, found none")
    videos: dict[str, AskedEdit] = {}
    asked = []
    for kind, where, item in (each for path in there for each in _items(path)):
        name, *texts = (str(item[key]) for key in _KEYS)
        source_prompt, target_prompt, label = map(safe_text, texts)
        inside(root, name, where)
        if name not in videos:
            film, images = root / "videos" / f"{name}.mp4", root / "images" / name
            video = images if images.is_dir() and not film.is_file() else film
            masks = root / "bmasks" / name
            videos[name] = sequence_case(name, name, video, masks, _is_white, files)
        told = {
            "name": f"{kind}-{name}",
            "source_prompt": source_prompt,
            "target_prompt": re.sub(r"[\[\]]", "", target_prompt),  # around the words that change
            "label": label,
            "questions": _questions(item),
        }
        asked.append(videos[name].model_copy(update=told))
    return LoadedBenchmark(asked, [path for path in lists if path not in there])


def _questions(item: dict[str, Any]) -> FiveQuestions | None:
    told = {name: str(item.get(key) or "").strip() for name, key in _QUESTIONS.items()}
    safe = {name: safe_text(text) for name, text in told.items()}
    return FiveQuestions(**safe) if safe["target"] and safe["choice"] else None


def _is_white(levels_HW: Levels) -> Mask:
    return levels_HW > _WHITE


def _items(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, place and content of each item of a list."""
    try:
        items = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: expected JSON: {error}") from error
    if not isinstance(items, list):
        raise ManifestError(f"{path}: expected a list, found {type(items).__name__}")
    for number, item in enumerate(items, start=1):
        where = f"{path}, item {number}"
        if not isinstance(item, dict) or not all(isinstance(item.get(k), str | int) for k in _KEYS):
            raise ManifestError(f"{where}: expected an object with texts for {', '.join(_KEYS)}")
        yield path.stem.removesuffix("_FiVE"), where, item
