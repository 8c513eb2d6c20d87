"""A benchmark that anybody writes: JSON lines of what is asked."""

from pathlib import Path

from avipipe.evaluate.benchmarks.loaded import LoadedBenchmark
from avipipe.evaluate.cases import read_asked


def load_generic(folder: Path, files: Path, split: str) -> LoadedBenchmark:
    """The lines of `cases.jsonl`, paths relative to it, for what has no layout of its own yet."""
    return LoadedBenchmark(read_asked(folder / "cases.jsonl"))
