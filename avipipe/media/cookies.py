"""Reads a file of cookies, as browsers export it."""

import contextlib
import http.cookiejar
import io
import logging
from pathlib import Path

from avipipe.errors import ConfigError

logger = logging.getLogger(__name__)


def load_cookies(path: Path) -> http.cookiejar.MozillaCookieJar:
    """Load a cookie file in Netscape format; session cookies are kept, as yt-dlp keeps them.

    Raises:
        ConfigError: the file cannot be read, or is in another format.
    """
    from yt_dlp.cookies import YoutubeDLCookieJar

    jar: http.cookiejar.MozillaCookieJar = YoutubeDLCookieJar(str(path))
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):  # told of bad lines, secrets and all
            jar.load()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"stages.fetch.cookies_file: expected cookies in Netscape format in {path}: {error}"
        ) from error
    num_bad = printed.getvalue().count("skipping cookie file entry")
    if num_bad:
        logger.warning("%s: %d lines are no cookies in Netscape format", path, num_bad)
    return jar


def cookie_stream(path: Path) -> io.StringIO:
    """Open a cookie file in memory, for yt-dlp, which writes back: workers would do so at once.

    Raises:
        ConfigError: as `load_cookies`.
    """
    stream = io.StringIO()
    load_cookies(path).save(stream)  # type: ignore[arg-type]  # yt-dlp's jar writes to streams, too
    stream.seek(0)
    return stream
