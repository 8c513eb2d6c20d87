"""The folder in which a user's caches lie."""

import os
from pathlib import Path

CACHE_ENV = "AVIPIPE_CACHE_DIR"


def user_cache() -> Path:
    """The cache folder: AVIPIPE_CACHE_DIR, else `avipipe` in the user's own cache folder."""
    own = os.environ.get(CACHE_ENV)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avipipe"
