"""Loads models from where their weights lie; nothing is downloaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from avipipe import weights
from avipipe.errors import WeightsError


def load(weight: str, loader: Callable[..., Any], *, subfolder: str = "", **options: Any) -> Any:
    """What a `from_pretrained` makes of a weight.

    Raises:
        WeightsError: it is missing, or not what the loader can read.
    """
    folder = weights.locate(weight)
    try:
        return loader(folder / subfolder, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"the weight `{weight}` at {folder} cannot be loaded: {error}. Delete it and run: "
            f"avipipe weights pull {weight}"
        ) from error


def device() -> str:
    """The device that models run on."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from a seed, and give it its own numbers back afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
