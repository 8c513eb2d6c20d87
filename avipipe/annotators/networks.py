"""Small networks on the CPU, one thread each: the executor runs as many workers as fit.

What their files are is checked when they are loaded: a lock file of one's own may name others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avipipe.errors import WeightsError

NUM_THREADS = 1

Shape = tuple[int | str, ...]
"""Of a tensor; names stand for sizes that are free."""


def onnx_session(
    path: Path, *, weight: str, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> Any:
    """An ONNX network, ready to be asked.

    Args:
        weight: which it is in the lock file.
    Raises:
        WeightsError: the file is none, or has other inputs or outputs.
        ImportError: onnxruntime is not installed (extra `light`).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = NUM_THREADS
    options.inter_op_num_threads = NUM_THREADS
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsError(f"{path}: expected a network in ONNX format: {error}") from error
    found = [
        [tuple(t.shape) for t in ends] for ends in (session.get_inputs(), session.get_outputs())
    ]
    _hold_to(path, weight, [list(inputs), list(outputs)], found)
    return session


def _hold_to(path: Path, weight: str, expected: object, found: object) -> None:
    if found != expected:
        raise WeightsError(
            f"{path}: expected a network with inputs and outputs {expected}, found {found}; run: "
            f"avipipe weights pull {weight}"
        )
