"""`avipipe mask`."""

from pathlib import Path

import click

from avipipe.cli.options import require_folder
from avipipe.cli.output import echo

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("mask")
@click.argument("video", type=FILE)
@click.option(
    "--out",
    "path",
    required=True,
    metavar="FILE.html",
    type=FILE,
    help="File to write the page to.",
)
@click.option("--mask", "masks", type=FILE, help="masks.json of this video, to start from.")
@click.option(
    "--max-mb",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0.5),
    help="Largest size of the page; its film gets coarser until it holds.",
)
def command(video: Path, path: Path, masks: Path | None, max_mb: float) -> None:
    """Write a page on which a person draws the mask of a video.

    The page is one file that loads nothing else: open it in a browser, draw a box, a polygon or
    with a brush at some frames; in between, shapes move along. It tells the option for
    `avipipe edit`, or saves a masks.json for its --mask.

    \b
    Examples:
      avipipe mask dog.mp4 --out dog.html
      avipipe mask dog.mp4 --mask dog.masks.json --out again.html
    """
    from rich.filesize import decimal

    from avipipe.pages.mask_page import write_mask_page

    require_folder(path)
    written = write_mask_page(video, path, masks=masks, max_bytes=round(max_mb * 1e6))
    page = written.page
    echo(
        f"{page.num_frames} frames of {page.width}x{page.height}, shown at {written.short_side_px} "
        f"pixels; {decimal(written.num_bytes)}",
        err=True,
    )
    echo(str(path))
