"""Run a model on many items in batches that fit the memory there is."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from avipipe.errors import AnnotatorError, FailKind

Item = TypeVar("Item")
Result = TypeVar("Result")
Size = TypeVar("Size")

_log = logging.getLogger(__name__)

_NO_MEMORY = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def run_in_batches(
    run: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], batch_size: int
) -> list[Result]:
    """Run items in batches, one result each, in order; a batch that memory cannot hold is halved.

    The size that fits is kept for the rest of the items. Works without torch.

    Args:
        run: a model on 1 to `batch_size` items, with one result for each.
    Raises:
        AnnotatorError: of kind `out_of_memory`, if not even one item fits.
    """
    assert batch_size >= 1
    results: list[Result] = []
    while len(results) < len(items):
        batch = items[len(results) : len(results) + batch_size]
        part = _try(run, batch)
        if part is not None:
            assert len(part) == len(batch), f"{len(part)} results for {len(batch)} items"
            results.extend(part)
        elif len(batch) == 1:
            raise _does_not_fit("not even one item at a time")
        else:
            batch_size = len(batch) // 2
            _log.warning("out of memory: going on with batches of %d", batch_size)
    return results


def run_largest_that_fits(run: Callable[[Size], Result], sizes: Sequence[Size]) -> Result:
    """Run at the first of `sizes`, largest first, that fits into memory; return what comes of it.

    For models that cut their input up themselves.

    Raises:
        AnnotatorError: of kind `out_of_memory`, if not even the last fits.
    """
    for size in sizes:
        result = _try(run, size)
        if result is not None:
            return result
        _log.warning("out of memory at size %s", size)
    raise _does_not_fit(f"not even size {sizes[-1]}")


def _does_not_fit(what: str) -> AnnotatorError:
    return AnnotatorError(
        FailKind.OUT_OF_MEMORY,
        f"{what} fits into memory; free some, give the stage's worker a larger share of the GPU, "
        "or choose a smaller model",
    )


def _try(run: Callable[[Size], Result], size: Size) -> Result | None:
    """The results, or None where memory ran out (by then the frames that held it are gone)."""
    try:
        return run(size)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; of that on the CPU and in CUDA's libraries torch only says so."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in _NO_MEMORY)
    )
