"""Batches that are halved until they fit."""

from collections.abc import Callable, Sequence

import pytest

from avipipe.annotators.batching import run_in_batches, run_largest_that_fits
from avipipe.errors import AnnotatorError, FailKind


def squares(room: int, fail: Callable[[], object], sizes: list[int]) -> Callable[..., list[int]]:
    """A model for which no more than `room` items fit at once; `fail` raises what it then does."""

    def run(batch: Sequence[int]) -> list[int]:
        sizes.append(len(batch))
        if len(batch) > room:
            fail()
        return [item * item for item in batch]

    return run


def no_memory() -> None:
    raise MemoryError("out of memory")


def no_memory_on_the_gpu() -> None:
    raise pytest.importorskip("torch").cuda.OutOfMemoryError("CUDA out of memory")


def no_memory_for_torch() -> object:
    return pytest.importorskip("torch").empty(10**14)


@pytest.mark.parametrize("fail", [no_memory, no_memory_on_the_gpu, no_memory_for_torch])
def test_a_batch_that_does_not_fit_is_halved(fail: Callable[[], object]) -> None:
    sizes: list[int] = []
    out = run_in_batches(squares(3, fail, sizes), list(range(10)), 8)
    assert out == [item * item for item in range(10)]
    assert sizes == [8, 4, 2, 2, 2, 2, 2]


def test_all_in_one_where_it_fits() -> None:
    sizes: list[int] = []
    assert run_in_batches(squares(99, no_memory, sizes), [1, 2, 3], 8) == [1, 4, 9]
    assert sizes == [3]


def test_no_items_need_no_model() -> None:
    assert run_in_batches(squares(0, no_memory, []), [], 8) == []


def test_one_item_that_does_not_fit_fails_by_its_kind() -> None:
    with pytest.raises(AnnotatorError) as failure:
        run_in_batches(squares(0, no_memory, []), [1, 2, 3], 2)
    assert failure.value.kind is FailKind.OUT_OF_MEMORY


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("shapes do not match")])
def test_other_errors_pass_through(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        run_in_batches(squares(0, fail, []), [1], 1)


def test_sizes_are_tried_until_one_fits() -> None:
    tried: list[int] = []

    def run(size: int) -> int:
        tried.append(size)
        if size > 8:
            raise MemoryError
        return 10 * size

    assert run_largest_that_fits(run, (32, 8, 1)) == 80
    assert tried == [32, 8]


def test_no_size_that_fits_fails_by_its_kind() -> None:
    def run(size: int) -> int:
        raise MemoryError

    with pytest.raises(AnnotatorError, match="not even size 1 fits") as failure:
        run_largest_that_fits(run, (32, 1))
    assert failure.value.kind is FailKind.OUT_OF_MEMORY
