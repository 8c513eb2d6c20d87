"""What a run keeps in its folder, by sha256, so that damage is told before anything is used.

`kept.jsonl` gets a line for all that has come since the last one. What no line tells of was being
written when the run stopped, and is made again.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from avipipe.annotators.reading import few
from avipipe.errors import RunError
from avipipe.files import remove_drafts, sha256_of, write_whole

NAME = "kept.jsonl"

_OWN_CHECK = ".pt"
"""Files that are written over and over; the method that writes them checks them itself."""


class Kept:
    """The files of a folder.

    Raises:
        RunError: a file that was kept is missing or has changed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / NAME
        self._hashes = dict[str, str]()
        for number, line in enumerate(self._lines(), start=1):
            try:
                self._hashes.update(json.loads(line))
            except (ValueError, TypeError, RecursionError) as error:
                raise damaged(folder, f"line {number} of {NAME}") from error
        wrong = [name for name, value in self._hashes.items() if self._sha256(name) != value]
        if wrong:
            raise damaged(folder, few(sorted(wrong)))

    def __contains__(self, name: str) -> bool:
        return name in self._hashes

    def note_new(self) -> None:
        """Keep what has come."""
        new = {name: self._sha256(name) for name in self._found() if name not in self._hashes}
        if new:
            with self._path.open("ab") as file:
                file.write(json.dumps(new).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self._hashes |= {name: value for name, value in new.items() if value}

    def drop_others(self, part: str) -> None:
        """Delete what is not kept in a folder of the folder, and drafts beside that."""
        remove_drafts(self._folder)
        for name in list(self._found()):
            if name.startswith(f"{part}/") and name not in self._hashes:
                (self._folder / name).unlink()

    def forget(self, part: str) -> None:
        """Say no more of a folder of the folder."""
        self._hashes = {k: v for k, v in self._hashes.items() if not k.startswith(f"{part}/")}
        write_whole(self._path, json.dumps(self._hashes).encode() + b"\n")

    def _lines(self) -> list[bytes]:
        """All but one that was being written."""
        try:
            return self._path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []

    def _found(self) -> Iterator[str]:
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and path.suffix != _OWN_CHECK and path.name != NAME:
                yield path.relative_to(self._folder).as_posix()

    def _sha256(self, name: str) -> str:
        """Empty where there is no such file."""
        try:
            return sha256_of(self._folder / name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return ""


def damaged(folder: Path, what: str) -> RunError:
    """The error for a file of an edit that is not what was written."""
    return RunError(
        f"{folder} is damaged: {what} is missing or has changed since it was written. Delete the "
        "folder, and run the same command again"
    )
