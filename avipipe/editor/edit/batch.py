"""Many jobs, each by itself: what goes wrong with one costs the others nothing."""

import json
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from avipipe.editor.edit.job import Job, job_of
from avipipe.errors import DISK_ERRNOS, AvipipeError, ConfigError, ManifestError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended; `error` is empty where it was done."""

    name: str
    out: Path
    error: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A job of a batch, which is read when its turn comes; `files` is made for it."""

    name: str
    load: Callable[[], Job]
    files: Path | None = None


def read_jobs(path: Path) -> list[Entry]:
    """The jobs of a JSONL file; paths in it are relative to it, names are given where missing.

    Raises:
        ManifestError: it has no lines, two of one name, or a name that no folder can have.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read these jobs: {error}") from error
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            name = str(json.loads(line).get("name") or f"{number:04d}")
        except (ValueError, AttributeError, RecursionError) as error:
            raise ManifestError(f"{where}: expected a JSON object: {error}") from error
        if not re.fullmatch(r"[^./][^/]*", name):
            raise ManifestError(f"{where}: expected a name that a folder can have, got {name!r}")
        if name in entries:
            raise ManifestError(f"{where}: there is another job of the name {name!r}")
        entries[name] = Entry(name, partial(_job, line, path))
    if not entries:
        raise ManifestError(f"{path}: expected a job a line, found none")
    return list(entries.values())


def run_jobs(
    entries: Sequence[Entry],
    out: Path,
    run: Callable[[Job, Path], object],
    told: Callable[[Outcome], None],
) -> list[Outcome]:
    """Run jobs one after the other, each into the folder of its name.

    Args:
        told: is told how each ended.
    Raises:
        OSError: nothing more can be written.
    """
    outcomes = []
    for entry in entries:
        outcome = Outcome(entry.name, out / entry.name)
        try:
            run(entry.load(), outcome.out)
            if entry.files is not None:
                shutil.rmtree(entry.files)
        except AvipipeError as error:
            outcome = Outcome(entry.name, outcome.out, str(error))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
                raise
            logger.exception("%s failed", entry.name)
            outcome = Outcome(entry.name, outcome.out, f"{type(error).__name__}: {error}")
        told(outcome)
        outcomes.append(outcome)
    return outcomes


def _job(line: str, path: Path) -> Job:
    return job_of(json.loads(line), where=path).below(path.parent)
