"""A page as headless Chromium sees it; tests that need one are skipped where there is none."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


@dataclass(frozen=True)
class Page:
    """What became of a file in the browser."""

    dom: str
    text: str
    console: list[str]
    requests: list[str]


class _Text(HTMLParser):
    """Collects what a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words += data.split()


def text_of(html: str) -> str:
    return " ".join(_Text(html).words)


def browse(html: str, folder: Path) -> Page:
    """Load a page in headless Chromium, with its network log on."""
    assert CHROMIUM is not None
    page, net_log = folder / "report.html", folder / "net.json"
    page.write_text(html, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={net_log}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    events = [event.get("params", {}) for event in json.loads(net_log.read_text())["events"]]
    # What the browser itself asks of its makers has no origin; what a page asks for has one.
    requests = [e["url"] for e in events if e.get("initiator", "not an origin") != "not an origin"]
    return Page(done.stdout, text_of(done.stdout), console, requests)
