"""Model weights: which ones there are, where they lie, and whether they are what they should be.

Nothing here downloads by itself, and nothing else in avipipe downloads weights at all:
`avipipe weights pull` is the one place.
"""

from avipipe.weights.cache import locate, sha256
from avipipe.weights.lock import Weight, WeightFile, known

__all__ = ["Weight", "WeightFile", "known", "locate", "sha256"]
