"""Model weights: which ones there are, where they lie, and whether they are what they should be.

Nothing here downloads by itself, and nothing else in avipipe downloads weights at all:
`avipipe weights pull` is the one place.
"""

from avipipe.weights.cache import Found, find, locate, missing_message, require, sha256
from avipipe.weights.lock import Weight, WeightFile, entry, known

__all__ = [
    "Found",
    "Weight",
    "WeightFile",
    "entry",
    "find",
    "known",
    "locate",
    "missing_message",
    "require",
    "sha256",
]
