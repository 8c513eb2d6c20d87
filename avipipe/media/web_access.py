"""How one URL may be reached: with which credentials, and where it may lead.

The user info of a URL becomes a header for its own origin, and stands in no message. A host with
a public address must not lead, by redirects or by what its page embeds, to a private or loopback
one: whoever lists a URL of the web has not asked for what stands in their own network.
"""

import base64
import functools
import http.client
import ipaddress
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from avipipe import __version__
from avipipe.errors import FailKind
from avipipe.media.cookies import load_cookies
from avipipe.media.http_reply import retry_after_s
from avipipe.media.refusal import DownloadError, kind_of_status
from avipipe.text import shown_url, without_secrets

_SAFE = "%/:=&?~#+!$,;'@()*[]"
_PORTS = {"http": 80, "https": 443}
"""Schemes that are fetched, and their usual ports."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, not of a network of one's own."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(ip, "ipv4_mapped", None) or ip).is_global


class WebAccess:
    """The way to one URL, and to all that it leads to.

    Args:
        url: over http or https, with or without user info.
        cookies_file: in Netscape format; None for no cookies.
        timeout_s: longest time without a byte.
    Attributes:
        url: without its user info.
        shown: the URL for messages.
    Raises:
        DownloadError: UNSUPPORTED_URL; this is no URL of a host on the web.
    """

    def __init__(
        self, url: str, *, cookies_file: Path | None = None, timeout_s: float = 30.0
    ) -> None:
        self.shown = shown_url(url)
        try:
            parts = urlsplit(url)
            self._origin = _origin(url)
        except ValueError as error:
            raise DownloadError(
                FailKind.UNSUPPORTED_URL, f"{self.shown}: not a URL: {error}"
            ) from error
        if parts.scheme not in _PORTS or not parts.hostname:
            raise DownloadError(FailKind.UNSUPPORTED_URL, f"{self.shown}: expected https://host/…")
        user_info, _, host = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=host))
        self._authorization = _basic(user_info) if user_info else ""
        self._cookies_file = cookies_file
        self._timeout_s = timeout_s
        self._began_public: bool | None = None

    @functools.cached_property
    def _cookies(self) -> urllib.request.HTTPCookieProcessor | None:
        """The user's, and what the host adds to them on the way."""
        if self._cookies_file is None:
            return None
        return urllib.request.HTTPCookieProcessor(load_cookies(self._cookies_file))

    def get(self, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a GET for the URL.

        Returns:
            the reply, of a status from 200 to 299.
        Raises:
            DownloadError: the host refuses, does not answer, or leads where it must not.
            ConfigError: the cookies file cannot be read.
        """
        own = {"User-Agent": f"avipipe/{__version__}", "Accept-Encoding": "identity"}
        handlers = self.handlers()
        if self._cookies is not None:
            handlers.append(self._cookies)
        try:
            request = urllib.request.Request(
                quote(self.url, safe=_SAFE), headers={**own, **headers}
            )
            opener = urllib.request.build_opener(*handlers)
            reply: http.client.HTTPResponse = opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise DownloadError(
                    kind_of_status(error.code),
                    f"{self.shown}: HTTP {error.code} {error.reason}",
                    retry_after_s=retry_after_s(error.headers),
                    status=error.code,
                ) from error
        except (http.client.InvalidURL, ValueError) as error:
            raise DownloadError(
                FailKind.UNSUPPORTED_URL, f"{self.shown}: not a URL that can be asked for"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise self.unreachable(error) from error
        return reply

    def unreachable(self, error: Exception) -> DownloadError:
        """The error for a connection that failed or broke off."""
        reason = getattr(error, "reason", None) or error
        text = without_secrets(f"{type(error).__name__}: {reason}")
        return DownloadError(FailKind.UNREACHABLE, f"{self.shown}: {text}")

    def handlers(self, context: ssl.SSLContext | None = None) -> list[urllib.request.BaseHandler]:
        """Handlers that keep an opener of `urllib` to this way; `context` is for TLS."""
        return [_Connections(self, context), _Redirects(self)]

    def authorization(self, url: str) -> str:
        """The header for a request; empty for any origin but the one that was given it."""
        return self._authorization if _origin(url) == self._origin else ""

    def check(self, *, public: bool, where: str) -> None:
        """Note where a request goes; the first one settles what the later ones may reach.

        Raises:
            DownloadError: UNSAFE_REDIRECT; from a public address to one that is not.
        """
        if self._began_public is None:
            self._began_public = public
        if self._began_public and not public:
            raise self.unsafe(f"{where}, an address that is not public")

    def unsafe(self, target: str) -> DownloadError:
        """The error for a URL that leads where it must not."""
        return DownloadError(
            FailKind.UNSAFE_REDIRECT,
            f"{self.shown}: expected it to stay on the web (http or https, public addresses), "
            f"found that it leads to {target}",
        )


class _Connections(urllib.request.AbstractHTTPHandler):
    """Connects, looks at whom it has reached before anything is sent, and adds the credentials."""

    handler_order = 400  # behind the choice of a proxy, before what would connect unasked

    def __init__(self, access: WebAccess, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._access = access
        self._tls = {} if context is None else {"context": context}

    def http_open(self, request: urllib.request.Request) -> Any:
        return self._open(http.client.HTTPConnection, request, {})

    def https_open(self, request: urllib.request.Request) -> Any:
        return self._open(http.client.HTTPSConnection, request, self._tls)

    def _open(self, kind: type[Any], request: urllib.request.Request, tls: dict[str, Any]) -> Any:
        if request.has_header("Ytdl-socks-proxy"):
            return None  # yt-dlp connects to such a proxy itself
        authorization = self._access.authorization(request.full_url)
        if authorization and not request.has_header("Authorization"):
            request.add_unredirected_header("Authorization", authorization)
        is_direct = not request.has_proxy() and getattr(request, "_tunnel_host", None) is None
        if not is_direct:
            name = urlsplit(request.full_url).hostname or ""
            self._access.check(public=_may_be_public(name), where=name)
        make = functools.partial(_connection, kind, self._access if is_direct else None)
        return self.do_open(make, request, **tls)


def _connection(kind: type[Any], access: WebAccess | None, host: str, **options: Any) -> Any:
    connection = kind(host, **options)
    if access is not None:
        connection._create_connection = functools.partial(_connect, access)
    return connection


def _connect(access: WebAccess, address: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
    connected = socket.create_connection(address, *args, **kwargs)
    peer = str(connected.getpeername()[0])
    try:
        access.check(public=is_public(peer), where=peer)
    except DownloadError:
        connected.close()
        raise
    return connected


class _Redirects(urllib.request.BaseHandler):
    """Looks at where a redirect leads, and leaves following it to others."""

    handler_order = 400

    def __init__(self, access: WebAccess) -> None:
        self._access = access

    def http_error_302(
        self, request: urllib.request.Request, reply: Any, code: int, message: str, headers: Any
    ) -> None:
        target = headers.get("Location") or headers.get("URI") or ""
        try:
            scheme = urlsplit(urljoin(request.full_url, target)).scheme
        except ValueError:
            scheme = "no URL"
        if scheme not in _PORTS:
            reply.close()
            raise self._access.unsafe(f"`{scheme}:`")

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _basic(user_info: str) -> str:
    user, _, password = user_info.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def _may_be_public(host: str) -> bool:
    """What can be told of a name that a proxy looks up."""
    try:
        return is_public(host)
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")
