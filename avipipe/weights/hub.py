"""Pulling from the Hugging Face hub, or a mirror of it (HF_ENDPOINT)."""

import importlib.util
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from avipipe.errors import DISK_ERRNOS, WeightsError
from avipipe.text import MAX_NAME_CHARS, hiding, safe_text
from avipipe.weights.cache import select
from avipipe.weights.digests import digest
from avipipe.weights.lock import LOCK_ENV, Weight
from avipipe.weights.record import Pulled, PulledFile

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling


def pull_repository(weight: Weight, folder: Path, record: Pulled | None) -> Pulled:
    """Download the files that a weight takes of a repository, each checked.

    Args:
        folder: where they go, under their names in the repository.
        record: of an earlier pull, whose commit and hashes are kept to.
    Raises:
        WeightsError: no client, no access, no such repository, or wrong bytes.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise WeightsError(
            f"cannot pull `{weight.name}` from the Hugging Face hub: huggingface_hub is not "
            "installed. Run: pip install 'avipipe[full]'"
        )
    from huggingface_hub import HfApi, get_token, hf_hub_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its client
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    wanted = weight.revision or (record.revision if record else None)
    try:
        info = HfApi().model_info(weight.repository, revision=wanted, files_metadata=True)
        offered = {file.rfilename: file for file in info.siblings or ()}
        names = _selected(weight, offered)
        for name in names:
            hf_hub_download(weight.repository, name, revision=info.sha, local_dir=folder)
    except (HTTPError, OSError) as error:
        if getattr(error, "errno", None) in DISK_ERRNOS:
            raise
        with hiding(get_token() or ""):
            raise WeightsError(_refusal(weight, error)) from error
    files = {name: _checked(weight, folder / name, offered[name], record) for name in names}
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return Pulled(url=weight.url, revision=info.sha, files=files)


def _selected(weight: Weight, offered: Collection[str]) -> list[str]:
    names = select(weight, offered)
    if names is None:
        wanted = ", ".join(file.name for file in weight.files)
        raise WeightsError(
            f"{weight.page} does not hold what `{weight.name}` needs: expected {wanted}, found "
            f"{', '.join(sorted(offered)) or 'nothing'}. Name another repository or revision in a "
            f"lock file of your own ({LOCK_ENV})"
        )
    return names


def _checked(weight: Weight, path: Path, offer: "RepoSibling", record: Pulled | None) -> PulledFile:
    """A file as it came, compared with all that is known about it."""
    name = offer.rfilename
    locked = next((file.sha256 for file in weight.files if file.name == name), None)
    recorded = record.files.get(name) if record else None
    expected = {
        "the lock file": locked,
        "the hub": offer.lfs.sha256 if offer.lfs else None,
        "the record of an earlier pull": recorded.sha256 if recorded else None,
    }
    found = digest(path)
    for says, value in expected.items():
        if value is not None and value != found:
            path.unlink()
            raise WeightsError(
                f"{name} of `{weight.name}` is not what it should be: {says} says sha256 {value}, "
                f"what came has {found} and was thrown away. Run again: avipipe weights pull "
                f"{weight.name}"
            )
    return PulledFile(sha256=found, size_bytes=path.stat().st_size)


def _refusal(weight: Weight, error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    text = f"cannot pull `{weight.name}` from {weight.page}: "
    if status in (401, 403):
        token = "HF_TOKEN is set, but" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set, and"
        return (
            f"{text}access is refused (HTTP {status}; {token} this may be a gated model). Log in "
            f"there and accept its terms (licence: {weight.licence}), make a token at "
            "https://huggingface.co/settings/tokens, set it as HF_TOKEN, then run: "
            f"avipipe weights pull {weight.name}"
        )
    if status == 404:
        return (
            f"{text}there is no such repository, revision or file. Name another in a lock file of "
            f"your own ({LOCK_ENV})"
        )
    # Its first line says hardly more than the status.
    said = safe_text(" ".join(str(error).split()), max_chars=MAX_NAME_CHARS)
    reason = said or type(error).__name__
    return f"{text}{reason}; check the network, then run the same command: it goes on from here"
