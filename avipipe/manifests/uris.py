"""What a source is called: a URL, or a local path that is told apart from one.

A local path is stored as it is, so that people can read it. One that is no safe text (its bytes are
not UTF-8, or a terminal would obey them) is stored as `file:///…` with those bytes as `%xx`, which
leads to the same file.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from avipipe.errors import ManifestError
from avipipe.text import is_safe, percent_encoded, to_bytes

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FILE = "file://"
_HERE = ("", "localhost")
"""Hosts of a `file://` URL that mean this machine (RFC 8089, section 2)."""


def is_url(uri: str) -> bool:
    """Whether `uri` has to be fetched; a path and a `file://` URL are read where they lie."""
    return _SCHEME.match(uri) is not None and not _is_file_url(uri)


def absolute_uri(uri: str, folder: Path, where: str) -> str:
    """Make a source's URI absolute, as it is stored but for the secrets of a URL.

    Args:
        folder: what a relative path is relative to.
        where: the line, for messages.
    Raises:
        ManifestError: a `file://` URL of another machine.
    """
    if is_url(uri):
        return percent_encoded(uri)
    if _is_file_url(uri):
        host, slash, path = uri[len(_FILE) :].partition("/")
        if host.lower() not in _HERE or not slash:
            raise ManifestError(
                f"{where}: expected file:///path of this machine, found the host {host!r}; list a "
                "path, or a URL that can be downloaded"
            )
        return path_uri(_unquoted(slash + re.split("[?#]", path)[0]))
    if uri.startswith("~/"):
        return path_uri(os.path.expanduser(uri))  # noqa: PTH111  a Path raises without a home
    return path_uri(os.fspath(folder / uri))


def path_uri(path: str | Path) -> str:
    """Encode a local path as a URI."""
    text = os.fspath(path)
    return text if is_safe(text) else _FILE + quote(to_bytes(text))


def local_path(uri: str) -> Path:
    """Decode a URI to the local path that it stands for."""
    return Path(_unquoted(uri[len(_FILE) :]) if _is_file_url(uri) else uri)


def _is_file_url(uri: str) -> bool:
    return uri[: len(_FILE)].lower() == _FILE


def _unquoted(path: str) -> str:
    return os.fsdecode(unquote_to_bytes(to_bytes(path)))
