"""avipipe: datasets of single sounding instances, and the editor that is learnt from them."""

__version__ = "0.1.0"
