"""Loads models from where their weights lie, whole or not at all; nothing is downloaded.

Libraries fill what a checkpoint lacks with random numbers and say so in a warning. Here that is an
error, but for what `OPTIONAL` names, and for tied weights, of which one copy is enough.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from avipipe import weights
from avipipe.annotators.reading import few, incomplete, pull_again, reading
from avipipe.errors import WeightsError

OPTIONAL: Mapping[str, str] = {
    r"\.num_batches_tracked$": "counts the batches of training",
    r"\.(position_ids|token_type_ids|relative_position_index)$": "follows from the sizes alone",
    r"(^|\.)masked_spec_embed$": "stands for what is hidden from wav2vec2 while it trains",
}
"""Tensors that a checkpoint may lack -> why nothing that is read here depends on them.

transformers leaves out one more by itself: the last norm of Grounding DINO's Swin, whose output
nothing uses.
"""


def load(weight: str, loader: Callable[..., Any], *, subfolder: str = "", **options: Any) -> Any:
    """Load a processor or tokenizer of a weight by its `from_pretrained`.

    Raises:
        WeightsError: it is missing, or not what the loader can read.
    """
    path = weights.locate(weight) / subfolder
    with reading(path, f"`{weight}`", pull_again(weight)):
        return loader(path, local_files_only=True, **options)


def load_model(weight: str, kind: Any, *, subfolder: str = "", **options: Any) -> Any:
    """Load a model of transformers or diffusers, whole, on `device()`, for inference.

    Raises:
        WeightsError: it is missing, or not a whole model of this kind.
    """
    path = weights.locate(weight) / subfolder
    return read_model(kind, path, remedy=pull_again(weight), **options).to(device()).eval()


def load_pipeline(weight: str, kind: Any, *, instead: Mapping[str, Any], dtype: Any) -> Any:
    """Load a pipeline of diffusers on `device()`, each of its models whole.

    Args:
        instead: name of a part -> class to load it as, where the pipeline's index names another.
        dtype: of its models.
    Raises:
        WeightsError: it is missing, or a part is not whole.
    """
    path, remedy = weights.locate(weight), pull_again(weight)
    pipeline = read_pipeline(
        kind, path, remedy=remedy, dtype_of=lambda part: dtype, instead=instead
    )
    return pipeline.to(device())


def read_pipeline(
    kind: Any,
    path: Path,
    *,
    remedy: str,
    dtype_of: Callable[[str], Any],
    instead: Mapping[str, Any],
    without: Sequence[str] = (),
) -> Any:
    """Read a pipeline of diffusers on the CPU for inference, each of its models whole.

    Args:
        dtype_of: name of a part -> the type that it computes in.
        instead: name of a part -> class to load it as, where the pipeline's index names another.
        without: names of parts that are left out.
    Raises:
        WeightsError: it cannot be read, is of another class, or a part is not whole.
    """
    with reading(path, kind.__name__, remedy):
        index = pipeline_index(kind, path, remedy)
        kinds = {name: _class(*part) for name, part in index.items() if isinstance(part, list)}
    parts: dict[str, Any] = dict.fromkeys(without)
    for name, part in (kinds | dict(instead)).items():
        if _is_module(part) and name not in parts:
            option = "dtype" if part.__module__.startswith("transformers.") else "torch_dtype"
            dtype = {option: dtype_of(name)}
            parts[name] = read_model(part, path / name, remedy=remedy, **dtype).eval()
    with reading(path, kind.__name__, remedy), _quiet_diffusers():
        return kind.from_pretrained(path, local_files_only=True, **parts)


def pipeline_index(kind: Any, path: Path, remedy: str) -> dict[str, Any]:
    """What diffusers says of a pipeline in a folder; to be asked in a context of `reading`.

    Raises:
        WeightsError: it is a pipeline of another class.
    """
    index: dict[str, Any] = kind.load_config(path, local_files_only=True)
    if (found := index.get("_class_name")) != kind.__name__:
        raise WeightsError(f"{path}: expected a {kind.__name__}, found a {found}. {remedy}")
    return index


@contextmanager
def _quiet_diffusers() -> Iterator[None]:
    """It counts parts on a bar, and prints whole networks that it did not load itself."""
    from diffusers.utils import logging

    before, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if has_bars:
            logging.enable_progress_bar()


def read_model(
    kind: Any, path: Path, *, remedy: str, is_exact: bool = False, **options: Any
) -> Any:
    """Read a model that `save_pretrained` of transformers or diffusers wrote, on the CPU.

    Args:
        remedy: what to do where it is none.
        is_exact: whether tensors that the model does not have are refused as well.
    Raises:
        WeightsError: it cannot be read, or is not whole.
    """
    with reading(path, kind.__name__, remedy):
        model, info = kind.from_pretrained(
            path, local_files_only=True, output_loading_info=True, **options
        )
    if missing := [name for name in info["missing_keys"] if not is_optional(name)]:
        raise incomplete(_file_in(path), type(model).__name__, missing, remedy)
    if is_exact and (unknown := sorted(info["unexpected_keys"])):
        raise WeightsError(
            f"{path}: expected the tensors of {kind.__name__} alone, found {len(unknown)} more: "
            f"{few(unknown)}. {remedy}"
        )
    return model


def is_optional(name: str) -> bool:
    """Whether a checkpoint may lack a tensor."""
    return any(re.search(pattern, name) for pattern in OPTIONAL)


def device() -> str:
    """The device that models run on."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _file_in(folder: Path) -> Path:
    """The one that holds the tensors; the folder where there are several."""
    found = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    return found[0] if len(found) == 1 else folder


def _class(library: str | None, name: str | None) -> Any:
    """What an index of diffusers names: of a library, or of a pipeline's own module."""
    if library is None or name is None:
        return None
    if library in ("diffusers", "transformers"):
        return getattr(import_module(library), name)
    return getattr(import_module(f"diffusers.pipelines.{library}"), name)


def _is_module(kind: Any) -> bool:
    from torch import nn

    return isinstance(kind, type) and issubclass(kind, nn.Module)
