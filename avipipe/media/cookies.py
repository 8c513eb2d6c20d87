"""Reads a file of cookies, as browsers export it."""

import http.cookiejar
import io
from pathlib import Path

from avipipe.errors import ConfigError


def load_cookies(path: Path) -> http.cookiejar.CookieJar:
    """Cookies of a file in Netscape format; those without an end are kept, as yt-dlp keeps them.

    Raises:
        ConfigError: the file cannot be read, or is in another format.
    """
    from yt_dlp.cookies import YoutubeDLCookieJar

    jar: http.cookiejar.MozillaCookieJar = YoutubeDLCookieJar(str(path))
    try:
        jar.load()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"stages.fetch.cookies_file: expected cookies in Netscape format in {path}: {error}"
        ) from error
    return jar


def cookie_stream(path: Path) -> io.StringIO:
    """The same in memory, for yt-dlp, which writes back: workers would do so at the same time.

    Raises:
        ConfigError: as `load_cookies`.
    """
    load_cookies(path)
    return io.StringIO(path.read_text(encoding="utf-8"))
