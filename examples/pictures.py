"""Make the pictures of the README anew: the report of a dataset and the trace of an edit.

    make pictures

Needs chromium on the PATH. Each picture is a WebP of less than 200 kB.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

OUT = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH_PX = 1200
"""Of a window; heights show what a reader is to see of each page."""
MOST_BYTES = 200_000
QUALITIES = (90, 80, 70, 60)
"""WebP's, the best first."""


def screenshot(page: Path, picture: Path, height_px: int) -> None:
    """What a browser shows of a page, down to a height."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("expected chromium on the PATH, found none: install it and run this again")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                f"--window-size={WIDTH_PX},{height_px}",
                "--virtual-time-budget=5000",
                f"--screenshot={shot}",
                page.resolve().as_uri(),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        with Image.open(shot) as image:
            shown = image.convert("RGB")
    for quality in QUALITIES:
        shown.save(picture, quality=quality, method=6)
        if picture.stat().st_size < MOST_BYTES:
            return
    sys.exit(f"{picture}: expected less than {MOST_BYTES} bytes, found {picture.stat().st_size}")


def main(report: Path, trace: Path) -> None:
    OUT.mkdir(exist_ok=True)
    screenshot(report, OUT / "report.webp", 2640)
    screenshot(trace, OUT / "edit.webp", 1020)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
