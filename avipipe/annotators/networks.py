"""Small networks on the CPU, one thread each: the executor runs as many workers as fit.

What their files are is checked when they are loaded: a lock file of one's own may name others.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avipipe.errors import WeightsError

NUM_THREADS = 1
"""Of each network: more would contend with the other workers."""

Shape = tuple[int | str, ...]
"""Shape of a tensor; names stand for sizes that are free."""


def onnx_session(
    path: Path, *, weight: str, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> Any:
    """Open an ONNX network for inference on one thread.

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


def tflite_interpreter(
    path: Path,
    *,
    weight: str,
    inputs: Sequence[Shape],
    outputs: Sequence[Shape],
    keep_all: bool = False,
) -> Any:
    """Open a TensorFlow Lite network for inference on one thread.

    Args:
        weight: which it is in the lock file.
        keep_all: whether the tensors between its layers can be read.
    Raises:
        WeightsError: the file is none, or has other inputs or outputs.
        ImportError: ai-edge-litert is not installed (extra `light`).
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        with warnings.catch_warnings():
            # It warns of the memory that this takes, which is little for networks of these sizes.
            warnings.filterwarnings("ignore", r".*`experimental_preserve_all_tensors`")
            interpreter = Interpreter(
                model_path=str(path),
                num_threads=NUM_THREADS,
                experimental_preserve_all_tensors=keep_all,
            )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: expected a network in TFLite format: {error}") from error
    ends = (interpreter.get_input_details(), interpreter.get_output_details())
    found = [[tuple(tensor["shape"].tolist()) for tensor in end] for end in ends]
    _hold_to(path, weight, [list(inputs), list(outputs)], found)
    return interpreter


def run_tflite(interpreter: Any, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Run a network: its first output for its one input, both without the batch axis."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[None])
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return np.asarray(found[0])
