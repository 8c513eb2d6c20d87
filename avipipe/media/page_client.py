"""yt-dlp, kept to the way that `WebAccess` allows. Importing this imports yt-dlp."""

import functools
import ssl
import urllib.request
from collections.abc import Iterable
from typing import Any

import yt_dlp
from yt_dlp.networking._urllib import UrllibRH
from yt_dlp.networking.exceptions import RequestError

from avipipe.media.refusal import DownloadError
from avipipe.media.web_access import WebAccess


class PageClient(yt_dlp.YoutubeDL):  # type: ignore[misc]
    """A `YoutubeDL` whose requests carry the credentials of `access` and go where it may lead.

    Only what asks for a browser's imitation (curl_cffi, where it is installed), for a websocket or
    for ffmpeg to download goes its own way.
    """

    def __init__(self, options: dict[str, Any], access: WebAccess) -> None:
        self._access = access
        super().__init__(options)

    def build_request_director(self, handlers: Iterable[Any], preferences: Any = None) -> Any:
        others = [kind for kind in handlers if kind.RH_KEY not in ("Urllib", "Requests")]
        kept_to_way = functools.partial(_KeptToWayRH, access=self._access)
        return super().build_request_director([kept_to_way, *others], preferences)


class _KeptToWayRH(UrllibRH):  # type: ignore[misc]
    RH_KEY = "Urllib"  # some extractors look for it under this name
    _SUPPORTED_URL_SCHEMES = ("http", "https", "data")

    def __init__(self, *, access: WebAccess, **options: Any) -> None:
        super().__init__(**options)
        self._access = access

    def _send(self, request: Any) -> Any:
        """What `WebAccess` refuses is one of yt-dlp's own errors, or it would be none of ours."""
        try:
            return super()._send(request)
        except DownloadError as error:
            raise RequestError(str(error), cause=error) from error

    def _create_instance(self, **settings: Any) -> urllib.request.OpenerDirector:
        opener: urllib.request.OpenerDirector = super()._create_instance(**settings)
        context: ssl.SSLContext = self._make_sslcontext(
            legacy_ssl_support=settings.get("legacy_ssl_support")
        )
        for handler in self._access.handlers(context):
            opener.add_handler(handler)
        return opener
