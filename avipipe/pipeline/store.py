"""The content store under `work/store`: what every stage made, by stage key.

An entry is `<key>.json` (the record) and, where a stage writes files, the folder `<key>` beside
it. The folder is renamed into place first and the record second, so an entry counts only when it
is whole. Any number of workers, on any number of machines that share the file system, may write
at once: equal keys hold equal results, and the first one stays.

The record says what every file must be. Whether it is there and as long as it was is looked at
whenever it is asked for (`is_whole`); it is read through only before it is published (`check`).

`attempts/` counts how often a stage was begun on an item in one run without coming to an end,
which is how an item that kills its worker is told from its neighbours.
"""

import errno
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from avipipe.errors import ManifestError
from avipipe.files import sha256_of, sync, write_whole
from avipipe.manifests.records import Fail, Keep, Record, StoredFile


class ContentStore:
    """A content-addressed store in a folder."""

    def __init__(self, work: Path) -> None:
        self._entries = work / "store"
        self._attempts = work / "attempts"
        self._scratch = work / "scratch"

    def get(self, key: str) -> Record | None:
        """Look up the record of a stage key; None where there is none, or a damaged one."""
        try:
            return self.read(key)
        except ManifestError:
            return None

    def read(self, key: str) -> Record | None:
        """Read the record of a stage key; None where there is none.

        Raises:
            ManifestError: there is one, but it is damaged, or is another key's.
        """
        path = self._record_path(key)
        try:
            record = Record.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{path} is damaged: {error}") from error
        if record.key != key:
            raise ManifestError(
                f"{path} is damaged: expected the record of its name's key, found "
                f"that of {record.key[:16]}"
            )
        return record

    def check(self, record: Record) -> Iterator[str]:
        """Read the files of a kept record through; yield what is wrong with each that is not
        what the stage wrote."""
        assert isinstance(record.outcome, Keep)
        for name in record.outcome.files:
            path = self.folder(record.key) / name
            expected = record.files.get(name)
            if expected is None:
                yield f"{path}: no hash of it is known (an earlier version of avipipe made it)"
                continue
            try:
                found = _stored(path)
            except OSError as error:
                yield f"{path}: cannot be read: {error.strerror}"
                continue
            if found != expected:
                yield (
                    f"{path} is damaged: expected {expected.num_bytes} bytes with sha256 "
                    f"{expected.sha256[:16]}, found {found.num_bytes} with {found.sha256[:16]}"
                )

    def folder(self, key: str) -> Path:
        """Folder of the files of a stage key."""
        return self._entries / key[:2] / key

    def begin(self, key: str, run_id: str) -> int:
        """Note that a stage starts; return how often it did in this run, this time included."""
        path = self._attempts / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{run_id}\n")
        return path.read_text().split("\n").count(run_id)

    def scratch_folder(self, key: str) -> Path:
        """Make an empty folder for one call of a stage, on the store's own file system."""
        folder = self._scratch / f"{key[:16]}-{uuid.uuid4().hex[:12]}"
        folder.mkdir(parents=True)
        return folder

    def commit(self, record: Record, scratch: Path) -> Record:
        """Keep a record and the files in `scratch`; return the record that the store now holds."""
        present = self.get(record.key)
        if present is None or isinstance(present.outcome, Fail):
            record = replace(record, files=_sealed(record, scratch))
            self._place_folder(record.key, scratch)
            self._write_record(record)
            present = record
        shutil.rmtree(scratch, ignore_errors=True)
        (self._attempts / record.key).unlink(missing_ok=True)
        return present

    def discard(self, key: str) -> None:
        """Remove an entry, so that its stage runs again."""
        self._record_path(key).unlink(missing_ok=True)
        shutil.rmtree(self.folder(key), ignore_errors=True)
        (self._attempts / key).unlink(missing_ok=True)

    def clear_scratch(self) -> None:
        """Remove what killed workers left behind. Only while no other build runs here."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        shutil.rmtree(self._attempts, ignore_errors=True)

    def _place_folder(self, key: str, scratch: Path) -> None:
        target = self.folder(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        if not any(scratch.iterdir()):
            return
        try:
            scratch.rename(target)
        except OSError as error:
            # Another worker placed the same key between our two lines; its files are equal.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def _record_path(self, key: str) -> Path:
        return self._entries / key[:2] / f"{key}.json"

    def _write_record(self, record: Record) -> None:
        text = json.dumps(record.to_json(), separators=(",", ":"), sort_keys=True)
        write_whole(self._record_path(record.key), text.encode())


def is_whole(record: Record, folder: Path) -> bool:
    """Whether the files of a kept record are all in `folder`, each as long as it was."""
    assert isinstance(record.outcome, Keep)
    try:
        for name in record.outcome.files:
            num_bytes = (folder / name).stat().st_size
            expected = record.files.get(name)
            if expected is not None and num_bytes != expected.num_bytes:
                return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _sealed(record: Record, folder: Path) -> dict[str, StoredFile]:
    """What the files of a kept record are, once all of a folder is on disk."""
    for path in folder.iterdir():
        sync(path)
    names = record.outcome.files if isinstance(record.outcome, Keep) else ()
    return {name: _stored(folder / name) for name in sorted(names)}


def _stored(path: Path) -> StoredFile:
    return StoredFile(sha256_of(path), path.stat().st_size)
