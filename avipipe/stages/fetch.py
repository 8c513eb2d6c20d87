"""Fetch: from a line of the list to a file with an id of its own.

A local file stays where it is. A URL that names a media file is downloaded over HTTP; any other
goes to yt-dlp. All ranges of a URL that are listed together share one visit: it is fetched whole,
or, where they are little of it, in a file for each stretch.
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
from avipipe.files import sha256_of
from avipipe.manifests.records import (
    Evidence,
    Fail,
    Keep,
    Outcome,
    SourceLine,
    Span,
    digest,
    span_json,
)
from avipipe.manifests.sources import MEDIA_SUFFIXES
from avipipe.manifests.uris import is_url, local_path, path_uri
from avipipe.media.host_gate import HostGate, default_folder, host_of
from avipipe.media.http_file import HttpFile
from avipipe.media.ranges import Parts, Range, fetch_file_ranges, fetch_page_ranges
from avipipe.media.refusal import DownloadError, with_hint
from avipipe.media.remote_file import ReadLimits
from avipipe.media.web_access import WebAccess
from avipipe.media.web_page import open_page
from avipipe.stages.base import Item, Resources, Stage
from avipipe.text import MAX_NAME_CHARS, safe_text, to_bytes, without_secrets

logger = logging.getLogger(__name__)

_MAX_ID_CHARS = 80
"""Of a name that makes an id; a choice under what file systems take (255 bytes), with room for
suffixes."""
# These name a video after the last part of its page's URL, which many pages share.
_NAMELESS = ("Generic", "HTML5MediaEmbed")
_ORIGIN = (
    *("extractor", "id", "title", "uploader", "channel_id"),
    *("licence", "upload_date", "webpage_url"),
)


class FetchConfig(BaseModel):
    """How sources are fetched. All but the first two are about manners and never changes a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    short_side_px: int = Field(
        1080, ge=144, description="Height of a web page's rendition: the largest not above this."
    )
    ranges: Literal["auto", "whole"] = Field(
        "auto",
        description="`auto` fetches the listed ranges of a URL alone where they are under a fifth "
        "of it; `whole` never does.",
    )
    cookies_file: Path | None = Field(
        None, description="Cookies in Netscape format, for what only an account may see."
    )
    max_gb: float = Field(20.0, gt=0, description="A larger download is refused.")
    rate_limit_bytes_per_s: int = Field(0, ge=0, description="Rate of one download; 0 is no limit.")
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
        None, description="Where workers keep turns at a host; none is in the user's cache folder."
    )


class Fetch(Stage):
    """Gives each source a file, an id and an origin.

    Evidence: `source_id`, `sha256`, `bytes`, `path` (absolute for a local file, else a name in
    this stage's folder; `source_path` resolves both), `mtime_ns` of a local file, `clock_start_s`
    of a download (where the source's time 0 lies on its clock; None is its first moment), and
    `origin`: `extractor`, `id`, `title`, `uploader`, `channel_id`, `licence`, `upload_date`
    (YYYYMMDD) and `webpage_url`, None where nobody says.

    Of a URL that was fetched in part, `parts` stands in place of one file: of each, `start_s` and
    `end_s` of the ranges that it holds, `path`, `sha256`, `bytes` and `clock_start_s`; and
    `length_s` of the whole. `of_line` gives what a line of the list sees of it.
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
        return {"short_side_px": self.config.short_side_px, "ranges": self.config.ranges}

    def subject(self, line: SourceLine) -> str:
        """What is fetched for a line: a URI, or ranges of it that share one visit."""
        ranges = self._ranges(line)
        return f"{line.uri} {digest([span_json(span) for span in ranges])}" if ranges else line.uri

    def _ranges(self, line: SourceLine) -> tuple[Span, ...]:
        """What is fetched with a line's range; nothing where all of the URL is."""
        return line.ranges if self.config.ranges == "auto" and line.span in line.ranges else ()

    def _ranges_s(self, line: SourceLine) -> list[Range]:
        return [(span.start_s, span.end_s) for span in self._ranges(line)]

    @property
    def _limits(self) -> ReadLimits:
        return ReadLimits(self.config.rate_limit_bytes_per_s, round(self.config.max_gb * 1e9))

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
        kept: tuple[str, ...] = ()
        try:
            outcome = self._download(uri, item.source, folder)
            kept = outcome.files if isinstance(outcome, Keep) else ()
        finally:
            for path in folder.iterdir():
                if path.name not in kept:
                    path.unlink()
        return outcome

    def _download(self, url: str, line: SourceLine, folder: Path) -> Keep | Fail:
        """Try until it works, fails for good, or has failed too often.

        Args:
            url: with what may be secret in it; `line` has it without.
        """
        config = self.config
        access = WebAccess(url, cookies_file=config.cookies_file, timeout_s=config.timeout_s)
        gate = HostGate(
            config.state_dir or default_folder(),
            host_of(access.url),
            slots=config.downloads_per_host,
            max_wait_s=config.max_backoff_s,
        )
        attempt = 0
        while True:
            attempt += 1
            try:
                evidence = self._attempt(access, line, folder, gate)
            except DownloadError as error:
                if self._is_final(error, attempt, gate):
                    message = with_hint(error.kind, str(error))
                    return Fail(error.kind, message, attempt, error.log_tail)
                logger.info("attempt %d: %s", attempt, error)
            except MediaError as error:  # it came, and is no video
                gate.succeed()
                return Fail(error.kind, f"{access.shown}: {error}", attempt, error.log_tail)
            else:
                gate.succeed()
                return Keep(evidence, _file_names(evidence))

    def _attempt(
        self, access: WebAccess, line: SourceLine, folder: Path, gate: HostGate
    ) -> Evidence:
        is_file = PurePosixPath(urlsplit(access.url).path).suffix.lower() in MEDIA_SUFFIXES
        with gate.turn(0.0 if is_file else self.config.page_interval_s):
            evidence = self._from_file(access, line, folder) if is_file else None
            # A page may be named like a file, such as Wikimedia's `File:Name.webm`.
            return evidence or self._from_page(access, line, folder)

    def _from_file(self, access: WebAccess, line: SourceLine, folder: Path) -> Evidence | None:
        """A media file, whole or in parts; None where the URL leads to a page."""
        limits = self._limits
        if ranges := self._ranges_s(line):
            parts = fetch_file_ranges(access, folder, ranges, limits)
            if parts is not None:
                return _file_evidence(line, _of_parts(parts))
        file = HttpFile(
            access,
            folder,
            rate_limit_bytes_per_s=limits.bytes_per_s,
            max_bytes=limits.max_bytes,
        )
        path = file.attempt()
        if path is None:
            return None
        return _file_evidence(line, _of_file(path))

    def _from_page(self, access: WebAccess, line: SourceLine, folder: Path) -> Evidence:
        config = self.config
        with open_page(
            access,
            folder,
            short_side_px=config.short_side_px,
            cookies_file=config.cookies_file,
            rate_limit_bytes_per_s=self._limits.bytes_per_s,
            timeout_s=config.timeout_s,
            max_bytes=self._limits.max_bytes,
        ) as page:
            parts = None
            if ranges := self._ranges_s(line):
                parts = fetch_page_ranges(page, folder, ranges, self._limits)
            fetched = _of_parts(parts) if parts else _of_file(*page.download_all())
            return _video_evidence(line, page.info, fetched)

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
        sha256 = sha256_of(path)
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


def _of_file(path: Path, clock_start_s: float | None = None) -> Evidence:
    """What is known of a downloaded file by itself."""
    return {
        "path": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "clock_start_s": clock_start_s,
    }


def _of_parts(fetched: Parts) -> Evidence:
    """The same of a source that was fetched in part."""
    parts = [
        {"start_s": part.start_s, "end_s": part.end_s, **_of_file(part.path, part.clock_start_s)}
        for part in fetched.parts
    ]
    return {
        "path": None,
        "bytes": sum(part["bytes"] for part in parts),
        "sha256": digest([part["sha256"] for part in parts]),
        "clock_start_s": None,
        "length_s": fetched.length_s,
        "parts": parts,
    }


def _file_names(evidence: Evidence) -> tuple[str, ...]:
    return tuple(file["path"] for file in evidence.get("parts", [evidence]))


def of_line(evidence: Evidence, line: SourceLine) -> Evidence:
    """The evidence of a fetch as one line sees it: with the part that holds the line's range.

    `path` is None where there is no such part: the range lies behind the end of the source.
    """
    if "parts" not in evidence:
        return evidence
    shared = {name: value for name, value in evidence.items() if name != "parts"}
    for part in evidence["parts"]:
        if line.span and part["start_s"] <= line.span.start_s and line.span.end_s <= part["end_s"]:
            return {**shared, **part}
    return shared


def _file_evidence(line: SourceLine, fetched: Evidence) -> Evidence:
    name = PurePosixPath(unquote(urlsplit(line.uri).path)).stem
    file_id = _nameless_id(line, fetched)
    origin = _origin(extractor="http", id=file_id, title=name, webpage_url=line.uri)
    return {"source_id": f"http-{file_id}", "origin": origin, **fetched}


def _video_evidence(line: SourceLine, info: Mapping[str, Any], fetched: Evidence) -> Evidence:
    extractor, page_id = str(info["extractor"]), str(info["id"])
    origin = _origin(
        extractor=extractor,
        id=page_id,
        title=info.get("title"),
        uploader=info.get("uploader"),
        channel_id=info.get("channel_id") or info.get("uploader_id"),
        licence=info.get("license"),
        upload_date=info.get("upload_date"),
        webpage_url=info.get("webpage_url") or line.uri,
    )
    if info["extractor_key"] in _NAMELESS:
        source_id = f"http-{_nameless_id(line, fetched)}"
    else:
        source_id = safe_id(f"{extractor}-{page_id}")
    return {"source_id": source_id, "origin": origin, **fetched}


def _nameless_id(line: SourceLine, fetched: Evidence) -> str:
    """By content, but by URL where ranges of it are fetched: parts have no hash of the whole, and
    all that is fetched of a URL must have one id."""
    known = hashlib.sha256(line.uri.encode()).hexdigest() if line.ranges else fetched["sha256"]
    return str(known[:16])


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
