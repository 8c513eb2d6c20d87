"""What holds for every test: no hub is asked, and small weights are found where they lie here."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

WEIGHTS = Path(__file__).parents[2] / "shared" / "weights"


def pytest_configure() -> None:
    """Set before collection, as marks that skip a test look for weights too."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if WEIGHTS.is_dir():
        os.environ.setdefault("AVIPIPE_WEIGHTS_DIR", str(WEIGHTS))
    # A shell that started us in the background has SIGINT ignored, by us and by all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file of the longest tests first: begun last, all but one process would wait for it."""
    items.sort(key=lambda item: item.path.name != "test_publish_course.py")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For networks so small that threads would only wait for each other."""
    import torch  # which not every test needs

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
