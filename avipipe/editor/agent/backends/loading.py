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
    from safetensors import SafetensorError

    try:
        return loader(folder / subfolder, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"the weight `{weight}` at {folder} cannot be loaded: {error}. Delete it and run: "
            f"avipipe weights pull {weight}"
        ) from error


def load_model(weight: str, kind: Any, **options: Any) -> Any:
    """A whole model of transformers, on the device that models run on, ready to be asked.

    Raises:
        WeightsError: it is missing, or not a whole model of this kind.
    """
    model, info = load(weight, kind.from_pretrained, output_loading_info=True, **options)
    if missing := sorted(info["missing_keys"]):
        raise WeightsError(
            f"the weight `{weight}` lacks {len(missing)} parts of a {kind.__name__}, such as "
            f"{missing[0]}. Delete it and run: avipipe weights pull {weight}"
        )
    return model.to(device()).eval()


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
