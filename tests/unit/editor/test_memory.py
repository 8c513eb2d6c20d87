"""What is held at some work, and a plan in words."""

from dataclasses import replace

import pytest
import torch

from avipipe.editor.common.memory import GIB, MemoryPlan, peak_bytes, saved_bytes, without_storage
from avipipe.errors import RunError

PLAN = MemoryPlan(
    {"thinking": 2 * GIB, "resting": 3 << 20}, 4 * GIB, ("less of it: 1.0 GiB",), {"weights": GIB}
)


def test_what_is_held_at_once_is_counted() -> None:
    model = torch.nn.Linear(10, 20, bias=False)

    def work() -> None:
        with torch.no_grad():
            one = model(torch.ones(5, 10))  # 200 and 400 bytes
            two = one * 2  # 400 more
            del one
            two.add_(1).sum()  # and 4 of the sum

    assert peak_bytes(model, work) == 400 + 400


def test_what_the_backward_pass_needs_is_counted_once_and_without_storage() -> None:
    with without_storage(torch.bfloat16):
        model = torch.nn.Linear(1 << 20, 1 << 20, bias=False)
        with saved_bytes(model) as saved:
            given = torch.ones(5, 1 << 20)
            (model(given) + model(given)).exp()  # its input, once, and its result
    assert sum(saved.values()) == 2 * 2 * 5 << 20
    assert torch.get_default_dtype() == torch.float32


def test_a_plan_is_told_in_words() -> None:
    assert PLAN.lines() == [
        "weights      1.0 GiB",
        "thinking     2.0 GiB",
        "resting      3.0 MiB",
        "at most      3.0 GiB of 4.0 GiB",
    ]
    PLAN.check()


def test_a_plan_that_does_not_fit_is_refused_with_advice() -> None:
    assert replace(PLAN, device_bytes=3 * GIB).fits
    with pytest.raises(RunError) as caught:
        replace(PLAN, device_bytes=3 * GIB - 1).check()
    told = str(caught.value).splitlines()
    assert told[0] == "too little memory"
    assert told[-3:] == [
        "This is more than there is.",
        "What would help:",
        "  less of it: 1.0 GiB",
    ]
