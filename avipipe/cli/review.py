"""`avipipe review`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from avipipe.cli.options import require_folder, work_option
from avipipe.cli.output import echo

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_STEPS = 10
"""Lines that a whole page takes where there is no terminal."""


@click.command("review")
@click.argument("dataset")
@click.option(
    "--out",
    "path",
    required=True,
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write the page to.",
)
@click.option(
    "--count",
    default=60,
    show_default=True,
    type=click.IntRange(min=1),
    help="Clips to show, where there are as many.",
)
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the draw; other seeds draw other clips."
)
@click.option(
    "--max-mb",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0.5),
    help="Largest size of the page; videos get coarser until it holds.",
)
@click.option(
    "--pairs",
    is_flag=True,
    help="Only clips with edit pairs, to correct what editors will be asked.",
)
@work_option
def command(
    dataset: str,
    path: Path,
    count: int,
    seed: int,
    max_mb: float,
    pairs: bool,
    work: Path | None,
) -> None:
    """Write a page on which people judge a sample of a dataset's clips.

    DATASET is the --out of a build. The page is one file that loads nothing else: open it in a
    browser, judge with the keys K, D, M and U, export. Kept and dropped clips are drawn by turns,
    evenly over probabilities and over reasons; the same seed draws the same ones. Edit pairs of a
    clip stand beside it, to be corrected or rejected, and are exported to a file of their own.

    \b
    Example:
      avipipe review my-dataset --out review.html
      avipipe review my-dataset --out more.html --count 120 --seed 1
      avipipe review my-dataset --out edits.html --count 500 --pairs
    """
    from avipipe.pipeline.report.render import format_bytes
    from avipipe.pipeline.review.write import write_review
    from avipipe.pipeline.workspace import Workspace

    require_folder(path)
    with _Told(max_mb) as told:
        written = write_review(
            Workspace.at(dataset, work),
            path,
            count=count,
            seed=seed,
            max_bytes=round(max_mb * 1e6),
            listener=told,
            only_pairs=pairs,
        )
    if written.unreadable:
        echo(f"{written.unreadable} clips that were drawn have no video any more", err=True)
    echo(f"{written.num_clips} clips, {format_bytes(written.num_bytes)}", err=True)
    echo(str(path))


class _Told:
    """A bar on a terminal, lines elsewhere. Implements `pipeline.review.write.ReviewListener`."""

    def __init__(self, max_mb: float) -> None:
        self._max_mb = max_mb
        self._num_clips = self._last = 0
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def drew(self, num_clips: int, counts: Counter[str]) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._num_clips = num_clips
        echo(
            f"drawing {num_clips} of {counts['keep']} kept and {counts['drop']} dropped clips; the "
            f"page will have at most {self._max_mb:g} MB",
            err=True,
        )
        if counts["without_video"]:
            echo(
                f"{counts['without_video']} dropped clips have no video any more: their sources "
                "are not where they were; they are left out of the draw",
                err=True,
            )
        if counts["pending"] or counts["fail"]:
            echo(
                f"{counts['pending']} pending and {counts['fail']} failed clips are not drawn",
                err=True,
            )
        console = Console(stderr=True)
        if console.is_terminal:
            self._bar = Progress(console=console, transient=True)
            self._bar.add_task("encoding", total=num_clips)
            self._bar.start()

    def filmed(self, num_clips: int, num_bytes: int) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=num_clips)
            return
        step = num_clips * PLAIN_STEPS // max(self._num_clips, 1)
        if step > self._last:
            self._last = step
            whole_mb = num_bytes / num_clips * self._num_clips / 1e6
            echo(
                f"clip {num_clips} of {self._num_clips}; the page will have about "
                f"{whole_mb:.1f} MB",
                err=True,
            )
