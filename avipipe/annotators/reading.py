"""One error for all that a library may raise on a model file that it cannot read."""

import pickle
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from avipipe.annotators.batching import is_out_of_memory
from avipipe.errors import AvipipeError, WeightsError

_NUM_NAMES = 3
"""Names that are quoted of a list that may have thousands."""
_MAX_REASON = 300
"""Characters of a library's own words; torch quotes shapes and names by the thousand."""

_MISSING = re.compile(
    r"(?:Missing key\(s\) in state_dict: |in the model state dict but not in the checkpoint: )(.*)"
)
"""How torch and lightning begin the list of what a checkpoint lacks."""
_TORCH_HEAD = re.compile(r"Error\(s\) in loading state_dict for .*:\s*")


def pull_again(weight: str) -> str:
    """Remedy for a weight that is damaged: the command that pulls it again."""
    return f"Delete it and run: avipipe weights pull {weight}"


@contextmanager
def reading(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Load a model from a file or folder in this context.

    Args:
        what: it holds.
        remedy: what to do where it does not.
    Raises:
        WeightsError: it cannot be read, or lacks tensors.
        ImportError, MemoryError and what else says that it is not the file's fault: as they are.
    """
    try:
        yield
    except (AvipipeError, ImportError):
        raise
    except Exception as error:  # what damage makes a library raise cannot be listed
        if is_out_of_memory(error):
            raise
        if missing := _missing(error):
            raise incomplete(path, what, missing, remedy) from error
        raise WeightsError(
            f"{path}: cannot be loaded as {what}: {_reason(error)}. {remedy}"
        ) from error


def incomplete(path: Path, what: str, missing: Collection[str], remedy: str) -> WeightsError:
    """The error for a file or folder that lacks tensors: how many, and which come first."""
    return WeightsError(
        f"{path}: not the whole of {what}: it lacks {len(missing)} of its tensors, "
        f"{few(sorted(missing))}. {remedy}"
    )


def few(names: Collection[str]) -> str:
    """The first few of many names."""
    first = ", ".join(list(names)[:_NUM_NAMES])
    more = len(names) - _NUM_NAMES
    return f"{first} and {more} more" if more > 0 else first


def _missing(error: Exception) -> list[str]:
    """The names that a library says are missing."""
    found = _MISSING.search(str(error))
    return re.findall(r"""["']([^"']+)["']""", found[1]) if found else []


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # torch advises to run what is in the file
        return "it is no file of named tensors"
    text = " ".join(_TORCH_HEAD.sub("", str(error)).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:_MAX_REASON]}" if text else type(error).__name__
