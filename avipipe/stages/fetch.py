"""Fetch: from a line of the list to a file with an id of its own.

A local file stays where it is. A URL that names a media file is downloaded over HTTP; any other
goes to yt-dlp. A URL is always fetched whole, so that every range of it shares one download.
"""

import errno
import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from avipipe.errors import TRANSIENT, FailKind, MediaError
from avipipe.manifests.records import Evidence, Fail, Keep, Outcome
from avipipe.manifests.sources import MEDIA_SUFFIXES
from avipipe.manifests.uris import is_url, local_path, path_uri
from avipipe.media.host_gate import HostGate, default_folder, host_of
from avipipe.media.http_file import HttpFile
from avipipe.media.refusal import DownloadError, with_hint
from avipipe.media.web_page import WebVideo, download_web_video
from avipipe.stages.base import Item, Resources, Stage
from avipipe.text import MAX_NAME_CHARS, safe_text, to_bytes, without_secrets

logger = logging.getLogger(__name__)

_MAX_ID_CHARS = 80
# These name a video after the last part of its page's URL, which many pages share.
_NAMELESS = ("Generic", "HTML5MediaEmbed")
_ORIGIN = (
    *("extractor", "id", "title", "uploader", "channel_id"),
    *("licence", "upload_date", "webpage_url"),
)


class FetchConfig(BaseModel):
    """How sources are fetched. All but `short_side_px` is about manners and never changes a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    short_side_px: int = Field(
        1080, ge=144, description="Of a web page's renditions, the largest not above this."
    )
    cookies_file: Path | None = Field(
        None, description="Cookies in Netscape format, for what only an account may see."
    )
    rate_limit_bytes_per_s: int = Field(0, ge=0, description="Of one download; 0 is no limit.")
    downloads_per_host: int = Field(
        2, ge=1, description="Downloads at a time from one host, over all workers of a machine."
    )
    page_interval_s: float = Field(
        6.0, ge=0, description="Least time between two videos from pages of one host."
    )
    timeout_s: float = Field(30.0, gt=0, description="Longest time without a byte.")
    retries: int = Field(4, ge=0, description="Further attempts after a passing failure.")
    backoff_s: float = Field(
        5.0, ge=0, description="Wait for a host after a failure; doubles with each further one."
    )
    max_backoff_s: float = Field(
        600.0, ge=0, description="Longest wait; a host that asks for more is given up for now."
    )
    state_dir: Path | None = Field(
        None, description="Where workers keep turns at a host; none is in the temporary folder."
    )


class Fetch(Stage):
    """Gives each source a file, an id and an origin.

    Evidence: `source_id`, `sha256`, `bytes`, `path` (absolute for a local file, else a name in
    this stage's folder; `source_path` resolves both), `mtime_ns` of a local file, and `origin`:
    `extractor`, `id`, `title`, `uploader`, `channel_id`, `licence`, `upload_date` (YYYYMMDD) and
    `webpage_url`, None where nobody says.
    """

    name = "fetch"
    version: ClassVar[int] = 2
    level: ClassVar[Literal["source", "clip"]] = "source"
    needs = ()
    resources = Resources(num_cpus=0.5)
    timeout_s = 4 * 3600.0

    def __init__(self, config: FetchConfig) -> None:
        self.config = config

    def settings(self) -> Mapping[str, Any]:
        return {"short_side_px": self.config.short_side_px}

    def fresh(self, item: Item, evidence: Evidence) -> bool:
        """A local file is taken for the same as long as size and modification time are."""
        if is_url(item.source.uri):
            return True
        try:
            stat = local_path(evidence["path"]).stat()
        except (OSError, ValueError):
            return False
        return (stat.st_size, stat.st_mtime_ns) == (evidence["bytes"], evidence["mtime_ns"])

    def run(self, item: Item, folder: Path) -> Outcome:
        uri = item.address or item.source.uri
        if not is_url(uri):
            return Keep(_local_evidence(local_path(uri)))
        outcome = self._download(uri, folder)
        kept = outcome.files if isinstance(outcome, Keep) else ()
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink()
        return outcome

    def _download(self, url: str, folder: Path) -> Keep | Fail:
        """Try until it works, fails for good, or has failed too often."""
        config = self.config
        gate = HostGate(
            config.state_dir or default_folder(),
            host_of(url),
            slots=config.downloads_per_host,
            max_wait_s=config.max_backoff_s,
        )
        file = HttpFile(
            url,
            folder,
            cookies_file=config.cookies_file,
            rate_limit_bytes_per_s=config.rate_limit_bytes_per_s,
            timeout_s=config.timeout_s,
        )
        attempt = 0
        while True:
            attempt += 1
            try:
                evidence = self._attempt(url, folder, file, gate)
            except DownloadError as error:
                if self._is_final(error, attempt, gate):
                    message = with_hint(error.kind, str(error))
                    return Fail(error.kind, message, attempt, error.log_tail)
                logger.info("attempt %d: %s", attempt, error)
            else:
                gate.succeed()
                return Keep(evidence, (evidence["path"],))

    def _attempt(self, url: str, folder: Path, file: HttpFile, gate: HostGate) -> Evidence:
        is_file = PurePosixPath(urlsplit(url).path).suffix.lower() in MEDIA_SUFFIXES
        with gate.turn(0.0 if is_file else self.config.page_interval_s):
            if is_file and (path := file.attempt()) is not None:
                return _file_evidence(url, path)
            # A page may be named like a file, such as Wikimedia's `File:Name.webm`.
            video = download_web_video(
                url,
                folder,
                short_side_px=self.config.short_side_px,
                cookies_file=self.config.cookies_file,
                rate_limit_bytes_per_s=self.config.rate_limit_bytes_per_s,
                timeout_s=self.config.timeout_s,
            )
            return _video_evidence(url, video)

    def _is_final(self, error: DownloadError, attempt: int, gate: HostGate) -> bool:
        """Whether to give up; if not, the gate stays shut until the next attempt is due."""
        if error.kind not in TRANSIENT:
            gate.succeed()
            return True
        gate.shut(error.retry_after_s)
        if error.retry_after_s > self.config.max_backoff_s:
            return True
        last = attempt > self.config.retries
        if error.kind is FailKind.RATE_LIMITED:
            gate.fail(self.config.backoff_s)
            return last
        # A dead host is not waited for again by each of a thousand lines.
        failures = gate.fail(0.0 if last else self.config.backoff_s)
        return last or failures > self.config.retries + 1


def source_path(item: Item) -> Path:
    """Where the media file of an item lies; the item's stage must need `fetch`."""
    return item.folders["fetch"] / local_path(item.evidence["fetch"]["path"])


def _local_evidence(path: Path) -> Evidence:
    try:
        before = path.stat()
        if not path.is_file():
            raise MediaError(
                FailKind.NOT_MEDIA,
                f"{path}: expected a file, found a folder or device; a folder is given as --source",
            )
        sha256 = _sha256(path)
        after = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        # A ValueError tells of a zero byte, which no name of a file has.
        raise MediaError(FailKind.NO_SUCH_FILE, f"{path}: there is no such file") from error
    except PermissionError as error:
        raise MediaError(FailKind.PRIVATE, f"{path}: this user may not read it") from error
    except OSError as error:
        is_name = error.errno in (errno.ENAMETOOLONG, errno.ELOOP)
        kind = FailKind.NO_SUCH_FILE if is_name else FailKind.UNREACHABLE
        raise MediaError(kind, f"{path}: {error.strerror}") from error
    if before.st_size == 0:
        raise MediaError(FailKind.EMPTY_FILE, f"{path}: the file is empty")
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise MediaError(
            FailKind.UNREACHABLE, f"{path}: it changed while it was read; is it still being copied?"
        )
    return {
        "source_id": f"file-{sha256[:16]}",
        "path": path_uri(path),
        "bytes": before.st_size,
        "mtime_ns": before.st_mtime_ns,
        "sha256": sha256,
        "origin": _origin(extractor="file", id=sha256[:16], title=path.stem),
    }


def _file_evidence(url: str, path: Path) -> Evidence:
    sha256 = _sha256(path)
    name = PurePosixPath(unquote(urlsplit(url).path)).stem
    origin = _origin(extractor="http", id=sha256[:16], title=name, webpage_url=url)
    return _download_evidence(f"http-{sha256[:16]}", path, sha256, origin)


def _video_evidence(url: str, video: WebVideo) -> Evidence:
    sha256 = _sha256(video.path)
    info = video.info
    extractor, page_id = str(info["extractor"]), str(info["id"])
    origin = _origin(
        extractor=extractor,
        id=page_id,
        title=info.get("title"),
        uploader=info.get("uploader"),
        channel_id=info.get("channel_id") or info.get("uploader_id"),
        licence=info.get("license"),
        upload_date=info.get("upload_date"),
        webpage_url=info.get("webpage_url") or url,
    )
    is_named = info["extractor_key"] not in _NAMELESS
    source_id = safe_id(f"{extractor}-{page_id}") if is_named else f"http-{sha256[:16]}"
    return _download_evidence(source_id, video.path, sha256, origin)


def _download_evidence(
    source_id: str, path: Path, sha256: str, origin: Mapping[str, str | None]
) -> Evidence:
    return {
        "source_id": source_id,
        "path": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256,
        "origin": dict(origin),
    }


def _origin(**known: str | None) -> dict[str, str | None]:
    return dict.fromkeys(_ORIGIN) | {
        name: safe_text(without_secrets(str(said)), max_chars=MAX_NAME_CHARS) if said else None
        for name, said in known.items()
    }


def safe_id(name: str) -> str:
    """`name` in the letters that an id may have; a changed one gets a hash, so none collide."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_MAX_ID_CHARS]
    if safe == name:
        return name
    return f"{safe}-{hashlib.sha256(to_bytes(name)).hexdigest()[:8]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
