"""From the cases of a benchmark to jobs of `avipipe edit --batch`, for the rows of a table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avipipe.errors import AvipipeError, ConfigError
from avipipe.files import write_whole

if TYPE_CHECKING:
    from avipipe.editor.edit.batch import Entry
    from avipipe.editor.edit.method import Method
    from avipipe.evaluate.cases import AskedEdit
    from avipipe.evaluate.paper_tables import PaperRow, PaperTable

_SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".m4a")


def read_asked_edits(
    table: "PaperTable", benchmark: str, source: Path | None, cases_file: Path | None, files: Path
) -> "tuple[list[AskedEdit], list[str]]":
    """What is asked of the sources, and which media of a benchmark are missing.

    Args:
        source: folder of the benchmark, or a dataset.
        cases_file: instead, a manifest of what is asked.
        files: folder for what is made of a benchmark.
    Raises:
        ConfigError: neither or both are given, or one cannot be read.
    """
    from avipipe.evaluate.benchmarks import load_benchmark
    from avipipe.evaluate.cases import read_asked
    from avipipe.evaluate.datasets import is_dataset

    known = table.benchmarks[benchmark]
    if (source is None) == (cases_file is None):
        raise ConfigError(
            f"--table {table.name}: say with --source FOLDER where {benchmark} lies, or with "
            f"--cases FILE what is asked of which videos. {benchmark}: {known.words}"
        )
    if cases_file is not None:
        return [_looked_for(each) for each in read_asked(cases_file)], []
    assert source is not None, "one of both is given"
    loader = "dataset" if known.loader == "manifest" and is_dataset(source) else known.loader
    asked, coverage = load_benchmark(loader, source, files)
    return asked, [str(path) for path in coverage.missing]


def _looked_for(asked: "AskedEdit") -> "AskedEdit":
    """With its problem where its source is not there."""
    if asked.problem or (asked.source is not None and asked.source.is_file()):
        return asked
    problem = f"its source is missing: {asked.source or 'none is named'}"
    return asked.model_copy(update={"problem": problem})


def sounds_of(asked: "Sequence[AskedEdit]", sounds: Path) -> dict[str, Path]:
    """Case -> its new sound: a file of its name, or the one file for all.

    Raises:
        ConfigError: there is no such file or folder.
    """
    if sounds.is_file():
        return {each.name: sounds.absolute() for each in asked}
    if not sounds.is_dir():
        raise ConfigError(f"--sounds {sounds}: expected a sound, or a folder of sounds, found none")
    found = {
        path.stem: path.absolute()
        for path in sorted(sounds.iterdir())
        if path.suffix.lower() in _SOUND_SUFFIXES
    }
    return {each.name: found[each.name] for each in asked if each.name in found}


def problem_of(asked: "AskedEdit", table: "PaperTable", sounds: Mapping[str, Path] | None) -> str:
    """Why a case cannot be edited, whatever edits it; empty where it can.

    Args:
        sounds: case -> new sound; None where nobody has given any as yet.
    """
    if asked.problem:
        return asked.problem
    if not (asked.instruction or asked.target_prompt):
        return "it says neither instruction nor target_prompt: nothing is asked"
    if table.mask_tells == "stay" and asked.mask is None:
        return "it has no mask of what stays"
    if sounds is not None and asked.name not in sounds:
        return "--sounds has no sound of its name"
    return ""


def write_jobs(
    asked: "Sequence[AskedEdit]",
    row: "PaperRow",
    method: "type[Method]",
    sounds: Mapping[str, Path],
    out: Path,
    *,
    seed: int,
) -> "tuple[list[Entry], dict[str, str]]":
    """Write the jobs of a row to OUT/jobs/ROW.jsonl, and the masks that they need to OUT/masks.

    Returns:
        the jobs, and case -> why there is none, such as a mask that cannot be read.
    Raises:
        ManifestError: a case has a name that no folder can have.
    """
    from avipipe.editor.edit.batch import read_jobs

    path = out / "jobs" / f"{row.name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines, failed = list[str](), dict[str, str]()
    for each in asked:
        try:
            job = _job(each, row, method, sounds, out / "masks", seed)
            lines.append(f"{json.dumps(job)}\n")
        except AvipipeError as error:
            failed[each.name] = str(error)
    write_whole(path, "".join(lines).encode("utf-8"))
    return read_jobs(path) if lines else [], failed


def _job(
    asked: "AskedEdit",
    row: "PaperRow",
    method: "type[Method]",
    sounds: Mapping[str, Path],
    masks: Path,
    seed: int,
) -> dict[str, Any]:
    job: dict[str, Any] = {
        "name": asked.name,
        "video": str(asked.source),
        "instruction": asked.instruction or f"make it so: {asked.target_prompt}",
        "audio": str(sounds.get(asked.name, row.audio)),
        "seed": seed,
    }
    if asked.target_prompt:
        job["prompt"] = asked.target_prompt
    if method.reads_source and asked.source_prompt:
        job["source_prompt"] = asked.source_prompt
    if asked.mask is not None:
        job["mask"] = _mask(asked, row, masks)
    return job


def _mask(asked: "AskedEdit", row: "PaperRow", masks: Path) -> dict[str, Any]:
    from avipipe.evaluate.paper_tables.coarse import level_of, write_coarse

    assert asked.source is not None, "cases without a source are not edited"
    assert asked.mask is not None, "as of the caller"
    path, precision = asked.mask, row.precision
    if row.mask != "given":
        path = masks.absolute() / row.mask / f"{asked.name}.masks.json"
        write_coarse(asked.source, asked.mask, asked.name, row.mask, path)
        precision = level_of(asked.name, row.mask) if precision is None else precision
    return {"file": str(path), "precision": precision}
