"""Benchmarks as they lie on disk, by name: `BENCHMARKS`. Nothing is downloaded."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from avipipe.errors import ConfigError
from avipipe.evaluate.benchmarks.aved_bench import load_aved
from avipipe.evaluate.benchmarks.dataset import load_dataset
from avipipe.evaluate.benchmarks.davis import load_davis16, load_davis17
from avipipe.evaluate.benchmarks.esc50 import load_esc50
from avipipe.evaluate.benchmarks.five_bench import load_anchor, load_five
from avipipe.evaluate.benchmarks.generic import load_generic
from avipipe.evaluate.benchmarks.javedit_bench import load_javedit
from avipipe.evaluate.benchmarks.loaded import Coverage, LoadedBenchmark, covered
from avipipe.evaluate.benchmarks.youtube import load_audioset, load_vggsound
from avipipe.evaluate.cases import AskedEdit


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How a benchmark is loaded.

    Attributes:
        load: from its folder, a folder for what is made of it, and a split.
        split: the one that is loaded unless another is asked for; empty for all of it, None where
            there are no splits.
        licence: what its authors say; empty where they say nothing.
    """

    load: Callable[[Path, Path, str], LoadedBenchmark]
    split: str | None = None
    licence: str = ""


BENCHMARKS: dict[str, Benchmark] = {
    "dataset": Benchmark(load_dataset, "test"),
    "aved-bench": Benchmark(load_aved),
    "five-bench": Benchmark(load_five, ""),
    "anchor-bench": Benchmark(load_anchor),
    "davis16": Benchmark(load_davis16, "val"),
    "davis17": Benchmark(load_davis17, "val"),
    "vggsound": Benchmark(load_vggsound, "test", "CC BY 4.0 for the list, unknown for videos"),
    "audioset": Benchmark(load_audioset, "eval", "CC BY 4.0 for the list, unknown for videos"),
    "esc50": Benchmark(load_esc50, "", "CC BY-NC 3.0"),
    "javeditbench": Benchmark(load_javedit),
    "manifest": Benchmark(load_generic),
}


def load_benchmark(
    name: str,
    folder: Path,
    files: Path,
    split: str | None = None,
    pairs: Path | None = None,
) -> tuple[list[AskedEdit], Coverage]:
    """The edits that a benchmark asks for, and how much of it is there.

    What has no source stands among them with its problem.

    Args:
        files: folder for what is made of it: videos of images, masks as `masks.json`.
        pairs: file of edit pairs as people corrected them, of a dataset.
    Raises:
        ConfigError: there is no such benchmark, folder, list or split.
        ManifestError: a list is not what the benchmark has.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"there is no benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if not folder.is_dir():
        raise ConfigError(f"expected the folder of {name} at {folder}, found none; check the path")
    if split is not None and benchmark.split is None:
        raise ConfigError(f"--split {split}: {name} has no splits; leave it out")
    load = benchmark.load
    if pairs is not None:
        if name != "dataset":
            raise ConfigError(f"--pairs {pairs}: {name} has no edit pairs; leave it out")
        load = partial(load_dataset, pairs=pairs)
    asked_split = benchmark.split if split is None else split
    # Paths in what comes out hold wherever it is read from.
    loaded = load(folder.absolute(), files.absolute(), asked_split or "")
    return covered(loaded, f"{folder} as {name}", benchmark.licence)
