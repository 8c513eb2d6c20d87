"""What the errors of fsspec's drivers mean: absent, refused, passing, or for the user to mend.

Drivers are told by the names of their exceptions and the codes that these carry, so that none has
to be installed to be understood.
"""

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avipipe.errors import AvipipeError, ConfigError, RunError
from avipipe.manifests.stores.base import NotThere


class Refused(Exception):
    """The condition of a conditional write does not hold."""


class Passing(Exception):
    """An error that may go by itself, and says nothing about what is there."""


class Unsupported(Exception):
    """The store does not know what was asked, such as a condition."""


class BucketMissing(ConfigError):
    """The bucket, not what is in it, is not there."""


@dataclass(frozen=True, slots=True)
class StoreReply:
    """What a store answered. `code` is its own word for it, such as `NoSuchKey`; may be empty."""

    status: int
    code: str
    message: str
    facts: Mapping[str, Any]


_PASSING_STATUS = frozenset({408, 409, 425, 429})
"""Besides 5xx. 409: another conditional write is under way at this moment."""

_PASSING_CODES = frozenset(
    {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted"}
    | {"ConditionalRequestConflict", "NoSuchUpload", "IncompleteBody", "XAmzContentSHA256Mismatch"}
    | {"BadDigest", "ThrottlingException", "ServerBusy", "OperationTimedOut"}
)
_EXISTS_CODES = frozenset(
    {"BlobAlreadyExists", "ContainerAlreadyExists", "BucketAlreadyOwnedByYou"}
)
"""A 409 that will not pass: what was to be created is there."""

_FULL_CODES = frozenset({"XMinioStorageFull", "QuotaExceeded", "InsufficientStorage"})
_REGION_CODES = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
    | {"301", "307", "TemporaryRedirect"}
)
_KEY_CODES = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "InvalidSecurity",
    }
    | {"TokenRefreshRequired", "AuthenticationFailed", "InvalidAuthenticationInfo"}
)
_BUCKET_CODES = frozenset({"NoSuchBucket", "ContainerNotFound"})
_ABSENT_CODES = {"s3": frozenset({"NoSuchKey", "404"})}
"""How a kind of store says that a file is not there, where it has words of its own: a gateway on
the way may say 404, too. The reply to HEAD has no words, and shows as `404`."""

_NO_CREDENTIALS = frozenset(
    {"botocore.exceptions.NoCredentialsError", "botocore.exceptions.PartialCredentialsError"}
    | {"botocore.exceptions.ProfileNotFound", "botocore.exceptions.TokenRetrievalError"}
    | {"google.auth.exceptions.DefaultCredentialsError"}
)
_PASSING_TYPES = frozenset(
    {"botocore.exceptions.HTTPClientError", "botocore.exceptions.ConnectionError"}
    | {"botocore.parsers.ResponseParserError", "gcsfs.retry.ChecksumError"}
    | {"aiohttp.client_exceptions.ClientError", "urllib3.exceptions.HTTPError"}
    | {"requests.exceptions.RequestException", "google.auth.exceptions.TransportError"}
    | {"azure.core.exceptions.ServiceRequestError", "azure.core.exceptions.ServiceResponseError"}
    | {"azure.core.exceptions.IncompleteReadError"}
)
_SETTINGS_TYPES = frozenset(
    {"botocore.exceptions.BotoCoreError", "google.auth.exceptions.GoogleAuthError"}
)
"""Everything else that these libraries say before a request leaves the machine."""

_PASSING_ERRNOS = frozenset(
    {errno.EIO, errno.EREMOTEIO, errno.EBUSY, errno.EAGAIN, errno.ESTALE, errno.EPIPE}
    | {errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT}
)

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of this machine",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "azure": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, or a connection string",
}
ENDPOINTS = {
    "s3": "AWS_ENDPOINT_URL_S3",
    "gcs": "FSSPEC_GCS_ENDPOINT_URL",
    "azure": "AZURE_STORAGE_CONNECTION_STRING",
}
_RIGHTS = {
    "s3": "s3:ListBucket on the bucket; s3:GetObject, s3:PutObject and s3:DeleteObject in it",
    "gcs": "the role Storage Object User on the bucket",
    "azure": "the role Storage Blob Data Contributor on the container",
}


def translate_error(error: Exception, *, kind: str, url: str, doing: str) -> Exception:
    """Translate a driver's error to what is raised instead.

    Args:
        kind: of the store: `s3`, `gcs`, `azure`, or another word for those not known closer.
        doing: what was tried, as in "cannot ...".
    Returns:
        NotThere, Refused, Passing or Unsupported; or an AvipipeError that says what to do.
    """
    if isinstance(error, AvipipeError | NotThere | Refused | Passing | Unsupported):
        return error
    for cause in _chain(error):
        names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(cause).__mro__}
        if names & _NO_CREDENTIALS:
            return no_credentials(kind, url)
        if (reply := _reply(cause)) is not None:
            return _of_reply(reply, kind=kind, url=url, doing=doing)
        if names & _PASSING_TYPES:
            return Passing(_text(cause))
        if names & _SETTINGS_TYPES:
            return ConfigError(f"{url}: cannot {doing}: {_text(cause)}")
    return _of_builtin(error, kind=kind, url=url, doing=doing)


def no_credentials(kind: str, url: str) -> ConfigError:
    """The error where nothing says who asks."""
    return ConfigError(f"{url}: found no credentials; set {CREDENTIALS.get(kind, 'those of it')}")


def missing_bucket(url: str) -> BucketMissing:
    """The error for a missing bucket, and what to do about it."""
    return BucketMissing(
        f"{url}: its bucket does not exist; create it, name another --out, or let `avipipe build "
        "--create-bucket` create it"
    )


def given_up(last: Passing, *, kind: str, url: str, doing: str, waited_s: float) -> RunError:
    """The error for a passing one that did not pass."""
    endpoint = f" (and {ENDPOINTS[kind]}, if you set it)" if kind in ENDPOINTS else ""
    return RunError(
        f"{url}: cannot {doing}: {last} ({waited_s:.0f} s and several tries long). Nothing is lost:"
        f" check the network and the store{endpoint}, then run the same command again"
    )


def _of_reply(reply: StoreReply, *, kind: str, url: str, doing: str) -> Exception:
    code, status = reply.code, reply.status
    said = f"{code or status}: {reply.message}".rstrip(": ")
    if code == "PreconditionFailed" or code in _EXISTS_CODES or status in (304, 412):
        return Refused(said)
    if code in _BUCKET_CODES:
        return missing_bucket(url)
    if code in _FULL_CODES or status == 507:
        return RunError(f"{url}: cannot {doing}: the store has no room ({said}); make room there")
    if status == 501:
        return Unsupported(said)
    if code in _PASSING_CODES or status >= 500 or status in _PASSING_STATUS:
        return Passing(said)
    if code in _REGION_CODES:
        return _wrong_region(reply, url)
    if code == "RequestTimeTooSkewed":
        return _wrong_clock(reply, url)
    if code in _KEY_CODES:
        return ConfigError(
            f"{url}: these credentials are not accepted ({said}); set or renew "
            f"{CREDENTIALS.get(kind, 'them')}"
        )
    if status == 404:
        words = _ABSENT_CODES.get(kind)
        return Passing(said) if words is not None and code not in words else NotThere(said)
    if status == 401:
        return no_credentials(kind, url)
    if status == 403:
        return not_allowed(kind, url, doing, said)
    return ConfigError(f"{url}: cannot {doing}: {said}; {_check_endpoint(kind)}")


def not_allowed(kind: str, url: str, doing: str, said: str) -> ConfigError:
    """The error where the store knows who asks, and does not let them."""
    rights = f"; expected {_RIGHTS[kind]}" if kind in _RIGHTS else ""
    return ConfigError(f"{url}: these credentials may not {doing} ({said}){rights}")


def _wrong_region(reply: StoreReply, url: str) -> ConfigError:
    region = reply.facts.get("Region")
    right = f" {region}" if region else ""
    return ConfigError(
        f"{url}: the bucket is in another region{right} ({reply.message}); set "
        f"AWS_DEFAULT_REGION{f'={region}' if region else ' to it'}"
    )


def _wrong_clock(reply: StoreReply, url: str) -> ConfigError:
    times = " and ".join(
        f"{who} says {reply.facts[name]}"
        for who, name in (("this machine", "RequestTime"), ("the store", "ServerTime"))
        if name in reply.facts
    )
    return ConfigError(
        f"{url}: the clock of this machine is off ({times or reply.message}); set it, for example "
        "with NTP"
    )


def _check_endpoint(kind: str) -> str:
    if kind in ENDPOINTS:
        return f"check that the address is right and, if you set it, {ENDPOINTS[kind]}"
    return "check that the address is right"


def _of_builtin(error: Exception, *, kind: str, url: str, doing: str) -> Exception:
    """Errors that come with Python, and those that nobody knows."""
    text = _text(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotThere(text)
    if isinstance(error, FileExistsError):
        return Refused(text)
    if isinstance(error, PermissionError) or text.startswith("Forbidden"):
        return not_allowed(kind, url, doing, text)
    if isinstance(error, TimeoutError | ConnectionError | EOFError):
        return Passing(text)
    if isinstance(error, OSError) and error.errno in _PASSING_ERRNOS:
        return Passing(text)
    if isinstance(error, OSError | ValueError):
        return RunError(f"{url}: cannot {doing}: {text}")
    return error


def code_of(error: BaseException) -> str:
    """The store's own word for what went wrong; empty where it said none."""
    replies = (_reply(cause) for cause in _chain(error))
    return next((reply.code for reply in replies if reply is not None), "")


def _reply(error: BaseException) -> StoreReply | None:
    """The answer of a store that an error holds."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and "Error" in response:
        facts = response["Error"]
        code = str(facts.get("Code") or "")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        status = status or (int(code) if code.isdigit() else 400)
        return StoreReply(status, code, str(facts.get("Message", "")), facts)
    for name in ("status_code", "code", "status"):
        status = getattr(error, name, None)
        if isinstance(status, str) and status.isdigit():
            status = int(status)
        if isinstance(status, int) and 300 <= status < 600:
            code = getattr(error, "error_code", None) or ""
            return StoreReply(status, str(getattr(code, "value", code)), _text(error), {})
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, the last first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _text(error: BaseException) -> str:
    """In one line."""
    return " ".join((str(error) or type(error).__name__).split())
