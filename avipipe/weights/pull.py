"""Downloading weights: the one place in avipipe that does."""

import contextlib
import logging
import os
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from avipipe.errors import TRANSIENT, FailKind, WeightsError
from avipipe.media.http_file import HttpFile
from avipipe.media.refusal import DownloadError
from avipipe.media.user_cache import CACHE_ENV
from avipipe.media.web_access import WebAccess
from avipipe.text import hiding, secrets_of, shown_url
from avipipe.weights.cache import FOLDER_ENV, Found, find
from avipipe.weights.digests import cache_folder, digest
from avipipe.weights.lock import LOCK_ENV, Weight
from avipipe.weights.record import Pulled, PulledFile, alone, read_record, write_record
from avipipe.weights.tensors import convert

logger = logging.getLogger(__name__)

OFFLINE_ENVS = ("AVIPIPE_OFFLINE", "HF_HUB_OFFLINE")
NUM_ATTEMPTS = 4
PAUSE_S = 1.0
MAX_WAIT_S = 600.0
"""A host that asks for more (`Retry-After`) is given up for now."""
MAX_FILE_BYTES = 200_000_000_000
"""Of a file whose size the lock file does not say: more than any single file of a model has."""
PARTS = "parts"
_UNWRITABLE = f"cannot write to the cache folder {{}}; set {CACHE_ENV} to one that you may write to"


def pull(weight: Weight) -> Found:
    """Download a weight into the cache folder, unless it is here already, and check it.

    A download that broke off goes on where it stopped, at the next call too. Nothing takes its
    place under its name before its hash is right.

    Raises:
        WeightsError: offline, no access, not reachable, or not what it should be.
    """
    present = _sound(weight)
    if present is not None:
        return present
    if weight.url.split("://")[0] != "file":
        _refuse_offline(weight)
    root = _writable_cache()
    with alone(root, weight.name):
        present = _sound(weight)  # another process may have pulled it meanwhile
        if present is None:
            pulled = _pull_hub(weight, root) if weight.is_folder else _pull_file(weight, root)
            write_record(root, weight, pulled)
    found = find(weight)
    assert found is not None, f"{weight.name} was pulled and is not found"
    found.check()
    return found


def part_bytes(weight: Weight) -> int:
    """How much of a weight that is being pulled has arrived."""
    root = cache_folder()
    total_bytes = 0
    for folder in (root / PARTS / weight.name, root / weight.name):
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # a part that has become whole
                total_bytes += path.stat().st_size if path.is_file() else 0
    return total_bytes


def _sound(weight: Weight) -> Found | None:
    """What is here already, if it is right; what is wrong in the cache is to be pulled again."""
    found = find(weight)
    if found is None:
        return None
    try:
        found.check()
    except WeightsError:
        if found.place != "cache":
            raise
        for name in found.files:
            logger.warning("%s of `%s` is not right; it is pulled again", name, weight.name)
        _remove_wrong(found)
        return None
    return found


def _remove_wrong(found: Found) -> None:
    for name, path in found.files.items():
        accepted = found.accepted.get(name)
        if accepted and digest(path) not in accepted:
            path.unlink()


def _writable_cache() -> Path:
    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{_UNWRITABLE.format(root)}: {error.strerror}") from error
    if not os.access(root, os.W_OK):
        raise WeightsError(f"{_UNWRITABLE.format(root)}: permission denied")
    return root


def _refuse_offline(weight: Weight) -> None:
    for name in OFFLINE_ENVS:
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            raise WeightsError(
                f"cannot pull `{weight.name}`: {name} is set, so nothing is downloaded. Unset it, "
                f"or set {FOLDER_ENV} to a folder that holds it"
            )


def _pull_hub(weight: Weight, root: Path) -> Pulled:
    from avipipe.weights.hub import pull_repository

    return pull_repository(weight, root / weight.name, read_record(root, weight))


def _pull_file(weight: Weight, root: Path) -> Pulled:
    file = weight.files[0]
    upstream = file.tensors_of
    name = upstream.name if upstream is not None else file.source or file.name
    url = f"{weight.url.rstrip('/')}/{name}"
    parts = root / PARTS / weight.name
    parts.mkdir(parents=True, exist_ok=True)
    if url.startswith("file:"):
        path = _copy(weight, url, parts)
    else:
        with hiding(*secrets_of(url)):
            path = _download(weight, url, parts)
    if upstream is not None:
        _hold_to(upstream.sha256, path, f"{url} does not serve the weight `{weight.name}`")
        path = convert(path, parts / file.name)
        url = f"the conversion of {url}"
    recorded = read_record(root, weight)
    expected = file.sha256 or (recorded.files[file.name].sha256 if recorded else digest(path))
    _hold_to(expected, path, f"{url} does not serve the weight `{weight.name}`")
    came = PulledFile(sha256=digest(path), size_bytes=path.stat().st_size)
    path.replace(root / file.name)  # no `written_whole`: what came in part is gone on with
    shutil.rmtree(parts, ignore_errors=True)
    return Pulled(url=shown_url(weight.url), files={file.name: came})


def _hold_to(expected: str, path: Path, complaint: str) -> None:
    """Throw a file away that is not what it should be."""
    found, size_bytes = digest(path), path.stat().st_size
    if found != expected:
        path.unlink()
        raise WeightsError(
            f"{complaint}: expected sha256 {expected}, got {found} ({size_bytes} bytes), which was "
            "thrown away. A proxy may have answered for it, or its owner has changed it; pull "
            f"again, or name another URL in a lock file of your own ({LOCK_ENV})"
        )


def _copy(weight: Weight, url: str, folder: Path) -> Path:
    source = Path(url2pathname(urlsplit(url).path))
    try:
        return Path(shutil.copyfile(source, folder / source.name))
    except FileNotFoundError as error:
        raise WeightsError(f"cannot pull `{weight.name}`: there is no file {source}") from error


def _download(weight: Weight, url: str, folder: Path) -> Path:
    """Download one file; what hinders for a moment is tried again."""
    max_bytes = weight.download_bytes or MAX_FILE_BYTES
    for attempt in range(1, NUM_ATTEMPTS + 1):
        try:
            path = HttpFile(WebAccess(url), folder, max_bytes=max_bytes).attempt()
        except DownloadError as error:
            is_passing = error.kind in TRANSIENT and error.retry_after_s <= MAX_WAIT_S
            if not is_passing or attempt == NUM_ATTEMPTS:
                raise WeightsError(_refusal(weight, error)) from error
            logger.info("attempt %d: %s", attempt, error)
            time.sleep(max(error.retry_after_s, PAUSE_S * attempt))
        else:
            if path is None:
                raise WeightsError(
                    f"cannot pull `{weight.name}`: {url} is a web page, not a file; a proxy or a "
                    "login may stand between"
                )
            return path
    raise AssertionError("an attempt ends the loop")


def _refusal(weight: Weight, error: DownloadError) -> str:
    other = (
        "this is not the file that the lock file names; name another URL in a lock file of your "
        f"own ({LOCK_ENV})"
    )
    advice = {
        FailKind.PRIVATE: f"access is refused; see {weight.page}",
        FailKind.REMOVED: "it is not there any more; name another URL in a lock file of your own "
        f"({LOCK_ENV})",
        FailKind.UNREACHABLE: "check the network, then run the same command: it goes on from here",
        FailKind.TOO_LARGE: other,
        FailKind.BAD_REPLY: other,
        FailKind.UNSAFE_REDIRECT: other,
    }.get(error.kind, "run the same command later")
    return f"cannot pull `{weight.name}`: {error}; {advice}"
