"""Where weights lie on this machine."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from avipipe.errors import WeightsError
from avipipe.weights.lock import Weight, known

FOLDER_ENV = "AVIPIPE_WEIGHTS_DIR"


def locate(name: str) -> Path:
    """The file (or, for a hub model, the folder) of a weight, its hash checked.

    Raises:
        WeightsError: unknown, missing or corrupted; the message says what to run.
    """
    weight = _weight(name)
    path = _find(weight)
    if path is None:
        raise WeightsError(
            f"the weight `{name}` is missing; it is needed for {weight.purpose} "
            f"(licence: {weight.licence}). Run: avipipe weights pull {name}"
        )
    for file in weight.files:
        full = path / file.name if weight.is_folder else path
        if file.sha256 is not None and _digest(full, full.stat().st_mtime_ns) != file.sha256:
            raise WeightsError(
                f"the weight `{name}` is corrupted: {full} has another sha256 than the lock file. "
                f"Delete it and run: avipipe weights pull {name}"
            )
    return path


def sha256(name: str) -> str:
    """What identifies a weight's content: of the file, or of a folder's list of hashes.

    Raises:
        WeightsError: unknown, or (where the lock file does not hold the hash) missing.
    """
    weight = _weight(name)
    hashes = [file.sha256 for file in weight.files]
    if None in hashes:
        path = locate(name)
        files = [path / file.name if weight.is_folder else path for file in weight.files]
        hashes = [_digest(file, file.stat().st_mtime_ns) for file in files]
    if len(hashes) == 1:
        return str(hashes[0])
    return hashlib.sha256("\n".join(map(str, hashes)).encode()).hexdigest()


def _weight(name: str) -> Weight:
    try:
        return known()[name]
    except KeyError:
        raise WeightsError(f"there is no weight `{name}`; see: avipipe weights list") from None


def _find(weight: Weight) -> Path | None:
    folder = os.environ.get(FOLDER_ENV)
    if folder is None:
        return None
    if weight.is_folder:
        path = Path(folder) / weight.name
        return path if all((path / file.name).is_file() for file in weight.files) else None
    path = Path(folder) / weight.files[0].name
    return path if path.is_file() else None


@lru_cache(maxsize=256)
def _digest(path: Path, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
