"""What a build knows of the listed URLs and nobody else may: `work/private.json`, mode 0600.

Everything else that a build writes names a URL as `stored_uri` does: without user info, and without
all of its query that may be secret. Where what is left out may say which file is meant, a hash of
it stands for it, keyed so that nobody finds it by guessing. See docs/decisions/0003-secrets.md.
"""

import functools
import hashlib
import hmac
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from avipipe.errors import FailKind, ManifestError, MediaError
from avipipe.files import written_whole
from avipipe.manifests.records import SourceLine
from avipipe.manifests.uris import is_url
from avipipe.text import secrets_of, split_url

NAME = "private.json"
_HASH_CHARS = 16
"""Digits of a hash that tells URLs apart: 64 bits."""
_MARK = "hidden="


class Private:
    """Secrets of a build: the addresses behind stored URIs, and the key of their hashes.

    The file is read when a URL first needs it: those who only look at a dataset may not read it.

    Args:
        work: the folder of `private.json`. Without that file, the key is drawn anew.
    Raises (all methods):
        ManifestError: the file is damaged, or this user may not read it.
    """

    def __init__(self, work: Path) -> None:
        self._path = work / NAME

    @functools.cached_property
    def _known(self) -> "_Known":
        return _read(self._path)

    def stored(self, line: SourceLine) -> SourceLine:
        """Take the secrets out of a line, to be stored; remember its address where it had any."""
        uri = self.stored_uri(line.uri)
        if uri != line.uri:
            self._known.addresses[uri] = line.uri
        return replace(line, uri=uri)

    def stored_uri(self, uri: str) -> str:
        """Take the secrets out of a URI; one without, or already stored, stays as it is."""
        if not is_url(uri):
            return uri
        parts = split_url(uri)
        if not (parts.user or parts.hidden):
            return parts.shown
        # Neither the password nor a signature says which file is meant, and both change.
        rest = json.dumps([parts.shown, parts.user, *parts.hidden])
        value = hmac.new(self._known.key, rest.encode(), hashlib.sha256).hexdigest()[:_HASH_CHARS]
        return f"{parts.shown}{'&' if '#' in parts.shown else '#'}{_MARK}{value}"

    def address(self, uri: str) -> str:
        """Address that the source stored as `uri` is fetched from.

        Raises:
            MediaError: its secrets are not here any more.
        """
        if not is_url(uri):
            return uri
        address = self._known.addresses.get(uri)
        if address is None and _MARK in uri.rpartition("#")[2]:
            raise MediaError(
                FailKind.PRIVATE,
                f"{uri}: its address has secrets, which were in {self._path.name} of the work "
                "folder and are not any more; build with the list that holds it, then "
                "`avipipe retry`",
            )
        return uri if address is None else address

    def secrets(self, uri: str) -> tuple[str, ...]:
        """Texts that no message about the source stored as `uri` may hold."""
        return secrets_of(self._known.addresses.get(uri, "")) if is_url(uri) else ()

    def write(self) -> None:
        """Keep what is known, for this user alone; where there are no secrets, nothing is."""
        key, addresses = self._known
        if not addresses:
            return
        data = {"key": key.hex(), "addresses": dict(sorted(addresses.items()))}
        with written_whole(self._path) as draft:
            draft.touch(0o600, exist_ok=False)
            draft.write_text(json.dumps(data), encoding="utf-8")


class _Known(NamedTuple):
    key: bytes
    addresses: dict[str, str]


def _read(path: Path) -> _Known:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return _Known(bytes.fromhex(data["key"]), dict(data["addresses"]))
    except FileNotFoundError:
        return _Known(secrets.token_bytes(32), {})
    except PermissionError as error:
        raise ManifestError(
            f"{path}: this user may not read the secrets of listed URLs; build, and run all "
            "workers, as the user that began the build"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{path}: expected the secrets of listed URLs as a build wrote them, found "
            f"{type(error).__name__}. Restore it; or delete it and build with all lists again, "
            "which fetches those URLs anew"
        ) from error
