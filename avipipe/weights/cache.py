"""Where weights lie on this machine, and whether they are what they should be.

Looked for in this order: the folder that AVIPIPE_WEIGHTS_DIR names, the cache folder that
`avipipe weights pull` fills, and, for hub models, the Hugging Face cache. A folder is judged by the
`pulled.yaml` in it, if there is one.
"""

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from avipipe.errors import WeightsError
from avipipe.weights.digests import cache_folder, digest, digest_again, is_remembered
from avipipe.weights.lock import Weight, entry
from avipipe.weights.record import Pulled, read_record

FOLDER_ENV = "AVIPIPE_WEIGHTS_DIR"

Place = Literal["weights folder", "cache", "hub cache"]


@dataclass(frozen=True, slots=True)
class Found:
    """A weight on this machine.

    Attributes:
        path: of the file, or of the hub model's folder.
        files: name -> path of each file that counts.
        accepted: name -> what its sha256 may be, where that is known.
        pulled: the record that lies beside it.
    """

    weight: Weight
    place: Place
    path: Path
    files: Mapping[str, Path]
    accepted: Mapping[str, tuple[str, ...]]
    pulled: Pulled | None

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files.values())

    @property
    def is_read(self) -> bool:
        """Whether all hashes are known already, so that checking costs nothing."""
        return all(is_remembered(path) for path in self.files.values())

    def check(self, *, again: bool = False) -> None:
        """Compare every file whose hash is known; `again` reads it even if it was read before.

        Raises:
            WeightsError: a file is not what it should be.
        """
        for name, path in self.files.items():
            found = digest_again(path) if again else digest(path)
            accepted = self.accepted.get(name, (found,))
            if found not in accepted:
                raise WeightsError(
                    f"the weight `{self.weight.name}` is corrupted: {path} has another sha256 "
                    f"than the lock file or the record of its pull (expected "
                    f"{' or '.join(accepted)}, found {found}). {self.remedy}"
                )

    @property
    def remedy(self) -> str:
        """What to do about a file that is not right."""
        name = self.weight.name
        if self.place == "cache":
            return f"Run: avipipe weights pull {name}"
        return f"Delete it there, then run: avipipe weights pull {name}"


def locate(name: str) -> Path:
    """The file (or, for a hub model, the folder) of a weight, its hash checked.

    Raises:
        WeightsError: unknown, missing or corrupted; the message says what to run.
    """
    found = _require_found(entry(name))
    if found.accepted:
        found.check()
    return found.path


def sha256(name: str) -> str:
    """What identifies a weight's content: of the file, or of a folder's list of hashes.

    The weight need not be here if the lock file, or the record of its pull, says what it is.

    Raises:
        WeightsError: unknown; or missing, and nothing says what it would be.
    """
    weight = entry(name)
    if weight.pinned is not None and not weight.has_builds:
        return _identity(weight, weight.pinned)
    found = find(weight)
    pulled = found.pulled if found is not None else _any_record(weight)
    if pulled is not None:
        return _identity(weight, {name: file.sha256 for name, file in pulled.files.items()})
    if found is not None:
        return _identity(weight, {name: digest(path) for name, path in found.files.items()})
    if weight.pinned is not None:
        return _identity(weight, weight.pinned)
    raise WeightsError(
        f"the weight `{name}` is missing, and nothing here says which version of it was used: the "
        f"lock file holds no hash of it. {_where_to_get([weight])}"
    )


def require(names: Iterable[str]) -> None:
    """Make sure that weights are here; their hashes are checked when they are loaded.

    Raises:
        WeightsError: naming all that are missing.
    """
    missing = [weight for weight in map(entry, sorted(set(names))) if find(weight) is None]
    if missing:
        raise _missing(missing)


def find(weight: Weight) -> Found | None:
    """Where a weight lies whole, if it does; no hash is computed."""
    for place, root in _roots():
        path = root / (weight.name if weight.is_folder else weight.files[0].name)
        pulled = read_record(root, weight)
        if (found := _found(weight, place, path, pulled)) is not None:
            return found
    snapshot = _hub_snapshot(weight) if weight.is_folder else None
    return None if snapshot is None else _found(weight, "hub cache", snapshot, None)


def missing_message(weights: Iterable[Weight]) -> str:
    """The message that weights are missing: what each is for, its terms, how to get them all."""
    weights = list(weights)
    if len(weights) == 1:
        weight = weights[0]
        head = (
            f"the weight `{weight.name}` is missing; it is needed for {weight.purpose} "
            f"(licence: {weight.licence})."
        )
    else:
        lines = (f"`{each.name}`, for {each.purpose} ({each.licence})" for each in weights)
        head = f"{len(weights)} weights are missing:\n  " + "\n  ".join(lines)
    return f"{head}\n{_where_to_get(weights)}"


def _missing(weights: list[Weight]) -> WeightsError:
    return WeightsError(missing_message(weights))


def _where_to_get(weights: list[Weight]) -> str:
    lines = [f"Run: avipipe weights pull {' '.join(weight.name for weight in weights)}"]
    lines += [
        f"First accept the terms of `{weight.name}` at {weight.page} and set HF_TOKEN."
        for weight in weights
        if weight.gated
    ]
    own = os.environ.get(FOLDER_ENV)
    places = f"{own} ({FOLDER_ENV}), {cache_folder()}" if own else f"{cache_folder()}"
    lines.append(
        f"Looked in: {places}. Files that lie elsewhere: set {FOLDER_ENV} to their folder."
    )
    return "\n".join(lines)


def _require_found(weight: Weight) -> Found:
    found = find(weight)
    if found is None:
        raise _missing([weight])
    return found


def _roots() -> list[tuple[Place, Path]]:
    own = os.environ.get(FOLDER_ENV)
    roots: list[tuple[Place, Path]] = [("weights folder", Path(own))] if own else []
    return [*roots, ("cache", cache_folder())]


def _any_record(weight: Weight) -> Pulled | None:
    records = (read_record(root, weight) for _, root in _roots())
    return next((record for record in records if record is not None), None)


def _found(weight: Weight, place: Place, path: Path, pulled: Pulled | None) -> Found | None:
    files = _files(weight, path, pulled)
    if files is None:
        return None
    accepted: dict[str, tuple[str, ...]] = {}
    if pulled is not None:
        accepted = {name: (file.sha256,) for name, file in pulled.files.items()}
    for file in weight.files:
        if file.sha256 is not None:
            accepted[file.name] = (file.sha256, *file.other_sha256)
    return Found(weight, place, path, files, accepted, pulled)


def _files(weight: Weight, path: Path, pulled: Pulled | None) -> dict[str, Path] | None:
    """Name -> path of the files that count; None where one is not there."""
    if not weight.is_folder:
        return {weight.files[0].name: path} if path.is_file() else None
    if not path.is_dir():
        return None
    if pulled is not None:
        files = {name: path / name for name in pulled.files}
        return files if all(file.is_file() for file in files.values()) else None
    names = select(weight, _names(path))
    return None if names is None else {name: path / name for name in names}


def select(weight: Weight, names: Iterable[str]) -> list[str] | None:
    """The files of a repository that a weight takes; None where it lacks one that must be."""
    names = sorted(names)
    required = [[name for name in names if fnmatchcase(name, f.name)] for f in weight.files]
    if not all(required):
        return None
    extras = [name for name in names if any(fnmatchcase(name, glob) for glob in weight.extras)]
    return sorted({*extras, *(name for matches in required for name in matches)})


def _names(folder: Path) -> list[str]:
    """Relative names of the files in a folder, but for hidden ones."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [name.as_posix() for name in names if not name.parts[0].startswith(".")]


def _hub_snapshot(weight: Weight) -> Path | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = [*(file.name for file in weight.files), *weight.extras]
    try:
        folder = snapshot_download(
            weight.repository,
            revision=weight.revision,
            allow_patterns=patterns,
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    return Path(folder)


def _identity(weight: Weight, hashes: Mapping[str, str]) -> str:
    if not weight.is_folder:
        return hashes[weight.files[0].name]
    listing = "".join(f"{value}  {name}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(listing.encode()).hexdigest()
