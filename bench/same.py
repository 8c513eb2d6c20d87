"""Whether another commit computes the same: shards, loss and edit on tiny, bit for bit.

Builds synthetic clips, trains a tiny editor on them and edits one with it, in the working tree and
in a checkout of the other commit, and compares what comes out. What a refactoring must show before
it lands; nothing golden is kept, as bits differ by CPU.

    python bench/same.py HEAD~1
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avipipe.files import sha256_of

ROOT = Path(__file__).parents[1]
NUM_CLIPS, TRAIN_STEPS, EDIT_STEPS = 4, 12, 6


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path]:
    """A commit's files, for as long as they are needed."""
    tree = folder / "tree"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def avipipe(tree: Path, folder: Path, *words: str) -> None:
    """Run the command line of a tree."""
    code = "from avipipe.cli import main; main()"
    subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(tree)},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def results(tree: Path, folder: Path) -> dict[str, str]:
    """What comes out of a tree: name -> hash or number. All is made in a folder of one name."""
    folder.mkdir()
    avipipe(tree, folder, "synth", "--out", "clips", "--num-clips", str(NUM_CLIPS))
    build = ("--source", "clips/sources.txt", "--out", "set", "--executor", "inline")
    avipipe(tree, folder, "build", *build)
    train = ("--config", "tiny", "--data", "set", "--out", "run")
    steps = (f"steps={TRAIN_STEPS}", "data.index=index", "data.workers=0")
    avipipe(tree, folder, "train", *train, *(word for step in steps for word in ("--set", step)))
    edit = ("--batch", "set", "--split", "train", "--instruction", "make it anew", "--precision")
    how = ("4", "--model", "run", "--steps", str(EDIT_STEPS), "--out", "edited")
    avipipe(tree, folder, "edit", *edit, *how)
    found = {path.name: sha256_of(path) for path in sorted((folder / "set").glob("shards/*"))}
    for line in (folder / "run/metrics.jsonl").read_text().splitlines():
        step = json.loads(line)
        if "loss" in step:
            found[f"loss of step {step['step']}"] = repr(step["loss"])
    for pattern in ("run/model/*.safetensors", "edited/*/edited.mp4", "edited/*/mask.mkv"):
        for path in sorted(folder.glob(pattern)):
            found[str(path.relative_to(folder))] = sha256_of(path)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("commit", help="what to compare the working tree with")
    commit = parser.parse_args().commit
    with tempfile.TemporaryDirectory() as place:
        with checkout(commit, Path(place)) as tree:
            before = results(tree, Path(place) / "made")
        (Path(place) / "made").rename(Path(place) / "before")
        now = results(ROOT, Path(place) / "made")
    names = sorted(before.keys() | now.keys())
    differing = [name for name in names if before.get(name) != now.get(name)]
    for name in names:
        print(
            f"{'DIFFERS' if name in differing else 'same':<8} {name:<44} {now.get(name, '-')[:16]}"
        )
    print(f"{len(names) - len(differing)} of {len(names)} are the same as at {commit}")
    sys.exit(bool(differing) or not any("edited" in name for name in names))


if __name__ == "__main__":
    main()
