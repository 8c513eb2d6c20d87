"""Where datasets are kept: the one place that talks to fsspec about them."""

from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from avipipe.errors import ConfigError
from avipipe.manifests.stores import failures
from avipipe.manifests.stores.base import DatasetStore
from avipipe.manifests.stores.local import LocalStore
from avipipe.manifests.stores.remote import RemoteStore

_KINDS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "azure"),
}
"""Protocol of a URL -> the kind of store, which is also the extra that installs its driver."""


def open_store(url: str) -> DatasetStore:
    """Open the store of a dataset. Nothing is asked of it yet.

    Args:
        url: local path or fsspec URL.
    Raises:
        ConfigError: no driver is known or installed for the URL, or it cannot be set up.
    """
    protocol = url.partition("://")[0] if "://" in url else "file"
    kind = _KINDS.get(protocol, protocol)
    options = {}
    if kind == "s3":
        from avipipe.manifests.stores.s3 import OPTIONS

        options = _over_own(OPTIONS, protocol)
    try:
        fs, root = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise _no_driver(url, protocol, error) from error
    except Exception as error:
        raise _no_setup(url, kind, error) from error
    if isinstance(fs, LocalFileSystem):
        return LocalStore(Path(root))
    if kind == "s3":
        from avipipe.manifests.stores.s3 import S3Store

        return S3Store(fs, root, url)
    return RemoteStore(fs, root, url, kind)


def _over_own(options: dict[str, object], protocol: str) -> dict[str, object]:
    """Options that the user's own configuration of fsspec goes before."""
    own = fsspec.config.conf.get(protocol, {})
    merged = dict(options)
    for name, value in own.items():
        ours = merged.get(name)
        merged[name] = {**ours, **value} if isinstance(ours, dict) else value
    return merged


def _no_driver(url: str, protocol: str, error: ImportError) -> ConfigError:
    if protocol in _KINDS:
        command = f"pip install 'avipipe[{_KINDS[protocol]}]'"
        return ConfigError(f"{url}: {protocol}:// needs a driver; run `{command}`")
    return ConfigError(f"{url}: {protocol}:// needs a driver: {error}")


def _no_setup(url: str, kind: str, error: Exception) -> Exception:
    """Why a driver refuses to begin; drivers use all sorts of errors for it."""
    found = failures.translate_error(error, kind=kind, url=url, doing="open it")
    if isinstance(found, ConfigError):
        return found
    if isinstance(error, ValueError | OSError):
        return ConfigError(f"{url}: cannot open it: {error}")
    return error
