"""A prefix of an S3 bucket, by S3's own conditions, tags and checksums."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from fsspec.asyn import sync

from avipipe.errors import ConfigError
from avipipe.manifests.stores.base import FileDigest, NotThere, Stat, Tagged
from avipipe.manifests.stores.failures import (
    Passing,
    Refused,
    Unsupported,
    code_of,
)
from avipipe.manifests.stores.remote import RemoteStore

OPTIONS: dict[str, Any] = {
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 30,
        # For the parts of an upload; whole calls are tried again by `RemoteStore`.
        "retries": {"total_max_attempts": 3, "mode": "standard"},
    },
    "max_concurrency": 4,
}
"""Options of s3fs. With parts of `_PART_BYTES`, an upload holds 128 MiB at most."""

_PART_BYTES = 32 << 20
"""Part of an upload; a choice: S3 takes 10,000 of them, 312 GiB."""
_ONE_PUT_BYTES = 2 * _PART_BYTES
"""A smaller file is sent at once, and the store computes its SHA-256 as it takes it."""

_NO_TAG = '"00000000000000000000000000000000"'


class S3Store(RemoteStore):
    """A store in an S3 bucket: writes under `If-None-Match` and `If-Match`; tags are ETags."""

    def __init__(self, fs: Any, root: str, url: str) -> None:
        super().__init__(fs, root, url, "s3")
        fs.retries = 1
        self.swaps = True

    def look(self) -> None:
        try:
            # No more than what is to be listed later: rights may be given for that alone.
            prefix = self._key(f"{self._root}/")
            self._patiently(
                "list it", lambda: self._call("list_objects_v2", "", MaxKeys=1, Prefix=prefix)
            )
        except NotThere as error:
            # S3 has a word of its own for a bucket that is missing; a bare 404 is not its.
            raise ConfigError(
                f"{self.url}: what answers there is not S3 ({error}); check AWS_ENDPOINT_URL_S3"
            ) from error

    def probe(self, name: str, data: bytes) -> None:
        path = self._path(name)
        if self.creates:
            self.creates = self._refuses(name, lambda: self._put(path, data, create=True))
        if self.swaps:
            self.swaps = self._refuses(name, lambda: self._swap(path, data, _NO_TAG))

    def remove_uploads(self, folder: str, before_s: float) -> list[str]:
        def end_old() -> list[str]:
            removed = []
            for upload in self._uploads(f"{self._path(folder)}/"):
                begun: datetime = upload["Initiated"]
                if begun.timestamp() < before_s:
                    self._fs.call_s3(
                        "abort_multipart_upload",
                        Bucket=self._bucket,
                        Key=upload["Key"],
                        UploadId=upload["UploadId"],
                    )
                    removed.append(f"{folder}/{upload['Key'].rpartition('/')[2]}")
            return removed

        return self._patiently("end old uploads", end_old)

    def _refuses(self, name: str, act: Callable[[], None]) -> bool:
        try:
            self._patiently(f"write {name}", act)
        except Refused:
            return True
        except Unsupported:
            return False
        return False

    # One call each, as in the parent.

    def _make_bucket(self) -> None:
        region = self._fs.s3.meta.region_name
        where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        us = region in ("us-east-1", "aws-global")  # the one region that must not be named
        self._fs.call_s3("create_bucket", Bucket=self._bucket, **({} if us else where))

    def _stat(self, path: str) -> Stat:
        reply = self._call("head_object", path, ChecksumMode="ENABLED")
        checksum = reply.get("ChecksumSHA256", "")
        # That of an upload in parts is a hash of hashes, with their number behind it.
        whole = checksum and "-" not in checksum
        sha256 = base64.b64decode(checksum).hex() if whole else ""
        return Stat(int(reply["ContentLength"]), sha256)

    def _get(self, path: str) -> Tagged:
        return self._body(path)

    def _get_range(self, path: str, start: int, end: int) -> bytes:
        return self._body(path, Range=f"bytes={start}-{end - 1}").data

    def _put(self, path: str, data: bytes, *, create: bool) -> None:
        self._put_whole(path, data, **({"IfNoneMatch": "*"} if create and self.creates else {}))

    def _swap(self, path: str, data: bytes, tag: str) -> None:
        if self.swaps:
            self._put_whole(path, data, IfMatch=tag)
        else:
            super()._swap(path, data, tag)

    def _upload(self, draft: Path, path: str, written: FileDigest, *, create: bool) -> None:
        if written.num_bytes < _ONE_PUT_BYTES:
            self._put(path, draft.read_bytes(), create=create)
            return
        mode = "create" if create and self.creates else "overwrite"
        self._fs.put_file(str(draft), path, chunksize=_PART_BYTES, mode=mode)

    def _remove(self, path: str, tag: str | None) -> None:
        if tag is None or not self.swaps:
            super()._remove(path, tag)
            return
        try:
            self._call("delete_object", path, IfMatch=tag)
        except OSError as error:
            if code_of(error) not in ("NotImplemented", "501"):
                raise
            super()._remove(path, tag)

    def _list(self, path: str) -> list[str]:
        prefix = self._key(path)
        prefix = f"{prefix}/" if prefix else ""
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", "", Prefix=prefix, Delimiter="/", **more)
            found += [entry["Key"] for entry in page.get("Contents", ()) if entry["Key"] != prefix]
            found += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _uploads(self, prefix: str) -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {}
        while True:
            page = self._call("list_multipart_uploads", "", Prefix=self._key(prefix), **more)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            more = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def _put_whole(self, path: str, data: bytes, **condition: str) -> None:
        checksum = {
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
        }
        self._call("put_object", path, Body=data, **checksum, **condition)

    def _body(self, path: str, **head: str) -> Tagged:
        try:
            return _fetched(self._fs, Bucket=self._bucket, Key=self._key(path), **head)
        except FileNotFoundError as error:
            # A reply with a body has S3's own word for it, or is not S3's.
            if code_of(error) in ("NoSuchKey", "NoSuchBucket"):
                raise
            raise Passing(f"404, but not in words of S3: {error}") from error

    def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        if path:
            request["Key"] = self._key(path)
        reply: dict[str, Any] = self._fs.call_s3(method, Bucket=self._bucket, **request)
        return reply

    def _key(self, path: str) -> str:
        return path.partition("/")[2]


def _fetched(fs: Any, **request: Any) -> Tagged:
    """An object with its tag in one call, so that they belong together."""

    async def fetch() -> Tagged:
        reply = await fs._call_s3("get_object", **request)
        async with reply["Body"] as body:
            return Tagged(await body.read(), reply["ETag"])

    found: Tagged = sync(fs.loop, fetch)
    return found
