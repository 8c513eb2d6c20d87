"""What each part of looking at a clip and masking it costs, in CPU seconds a second of clip.

    python bench/sight.py --clips FOLDER [--files NAME …] [--profile light] [--set KEY=VALUE …]

The clips go through a build in this process that drops nothing before all is measured, and whose
backends are timed. `--set annotators.ROLE=NAME` takes another backend. The rest of a stage is
decoding, measuring and writing.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from avipipe.annotators import registry
from avipipe.cli import main as avipipe
from avipipe.manifests.records import Keep
from avipipe.pipeline import graph
from avipipe.pipeline.workspace import Workspace

STAGES: Mapping[str, tuple[str, ...]] = {
    "listen": ("vad", "diarize", "separate", "tag"),
    "look": ("active_speaker", "localize", "detect", "classify", "text", "match"),
    "mask": ("detect", "segment", "propagate", "match"),
}
"""Stage -> the roles that it asks."""

OPEN: Mapping[str, str] = {
    **dict.fromkeys(("min_clip_s", "min_sound_dbfs", "min_motion_px"), "null"),
    "min_probability": "1e-9",
    "min_persistence": "null",
    "min_instances": "1000000",
}
"""Drops nothing until all is measured, and then everything: what follows would only cost time."""

IN_LOOK = frozenset({"things", "explain"})
"""Methods of a detector and a matcher that only `look` asks."""

Parts = defaultdict[tuple[str, str], float]
"""(stage, role) -> CPU seconds."""


class Timed:
    """A backend whose time is noted; a call within a call counts for the outer one."""

    running = False

    def __init__(self, backend: Any, role: str, parts: Parts) -> None:
        self._backend = backend
        self._role = role
        self._parts = parts

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._backend, name)
        if not callable(value) or name == "setup" or name.startswith("_"):
            return value
        return self._timed(value)

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(*args: Any, **named: Any) -> Any:
            began_s = time.process_time()
            try:
                return method(*args, **named)
            finally:
                stage = self._stage(method.__name__)
                self._parts[stage, self._role] += time.process_time() - began_s

        return run

    def _stage(self, method: str) -> str:
        of_role = [stage for stage, roles in STAGES.items() if self._role in roles]
        if len(of_role) > 1:
            return "look" if method in IN_LOOK else "mask"
        return of_role[0] if of_role else "other"


def build(files: Sequence[Path], out: Path, profile: str, overrides: Sequence[str]) -> Parts:
    """Everything up to the masks; what the backends took."""
    parts: Parts = defaultdict(float)
    listing = out.with_suffix(".txt")
    listing.write_text("".join(f"{path.absolute()}\n" for path in files))
    words = ["-q", "build", "--source", str(listing), "--out", str(out), "--profile", profile]
    words += ["--executor", "inline"]
    for name, limit in OPEN.items():
        words += ["--set", f"stages.decide.{name}={limit}"]
    for pair in overrides:
        words += ["--set", pair]
    vars(graph)["create"] = lambda role, name: Timed(registry.create(role, name), role, parts)
    avipipe(words)
    return parts


def stage_costs(out: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Stage -> CPU seconds, and the seconds of clip that went through it."""
    cpu_s: dict[str, float] = defaultdict(float)
    clip_s: dict[str, float] = defaultdict(float)
    with Workspace.at(str(out)).survey() as (survey, lines):
        for state in survey.clips(lines):
            assert state.row.span is not None
            for visit in state.visits:
                if visit.stage.name in STAGES and visit.record is not None:
                    if isinstance(visit.record.outcome, Keep):
                        cpu_s[visit.stage.name] += visit.record.cost.cpu_s
                        clip_s[visit.stage.name] += state.row.span.duration_s
    return cpu_s, clip_s


def table(parts: Parts, out: Path) -> Iterator[str]:
    cpu_s, clip_s = stage_costs(out)
    yield "| stage | part | CPU s a second of clip |"
    yield "|---|---|---:|"
    for stage, roles in STAGES.items():
        if not clip_s[stage]:
            continue
        told = 0.0
        for role in roles:
            told += parts[stage, role]
            yield f"| {stage} | {role} | {parts[stage, role] / clip_s[stage]:.3f} |"
        yield f"| {stage} | the rest | {(cpu_s[stage] - told) / clip_s[stage]:.3f} |"
        yield f"| {stage} | **in all** | **{cpu_s[stage] / clip_s[stage]:.3f}** |"
    yield ""
    yield f"{clip_s['look']:.0f} s of clip looked at, {clip_s['mask']:.0f} s masked"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder with the files")
    parser.add_argument("--files", nargs="+", help="only these")
    parser.add_argument("--profile", default="light")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    names = arguments.files or sorted(
        p.name for p in arguments.clips.iterdir() if p.suffix != ".csv"
    )
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "dataset"
        files = [arguments.clips / name for name in names]
        parts = build(files, out, arguments.profile, arguments.overrides)
        print("\n".join(table(parts, out)))


if __name__ == "__main__":
    main()
