"""A page in headless Chromium that a test can press keys on: the DevTools protocol over a pipe."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.browser import CHROMIUM

_KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32}
_KEYS |= {"Enter": 13, "Escape": 27, "Backspace": 8, "Delete": 46}


class Tab:
    """One page of a browser. A context manager.

    Args:
        folder: for the browser's profile and for `downloads`.
    """

    def __init__(self, folder: Path, *, width: int = 1280, height: int = 860) -> None:
        assert CHROMIUM is not None
        self.downloads = folder / "downloads"
        self.console: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._buffer = b""
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The protocol wants them as descriptors 3 and 4.
        shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            [
                *("bash", "-c", shell, "bash", CHROMIUM),
                *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--mute-audio", "--remote-debugging-pipe"),
                f"--window-size={width},{height}",
                f"--user-data-dir={folder / 'profile'}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs_in, theirs_out),
        )
        os.close(theirs_in)
        os.close(theirs_out)
        pages = self.call("Target.getTargets", session=None)["targetInfos"]
        page = next(found["targetId"] for found in pages if found["type"] == "page")
        self._session: str = self.call(
            "Target.attachToTarget", {"targetId": page, "flatten": True}, session=None
        )["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call(
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": str(self.downloads)},
            session=None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(self, page: Path) -> None:
        """Load a file, and wait until its scripts have run."""
        self.call("Page.navigate", {"url": page.as_uri()})
        self.wait("document.readyState === 'complete'")

    def reload(self) -> None:
        self.run("window.old = true")
        self.call("Page.reload")
        self.wait("document.readyState === 'complete' && !window.old")

    def run(self, script: str) -> Any:
        """The value of an expression on the page; of a promise, what it becomes."""
        done = self.call(
            "Runtime.evaluate",
            {"expression": script, "returnByValue": True, "awaitPromise": True},
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition: str, *, timeout_s: float = 30.0) -> None:
        """Until an expression is true on the page."""
        self.wait_for(lambda: bool(self.run(f"Boolean({condition})")), condition, timeout_s)

    def wait_for(self, done: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline_s, f"never: {what}"
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Keys one after the other, as a person presses them: the page counts them as such."""
        for key in keys:
            code = _KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
            event = {"key": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", {"type": "rawKeyDown", **event})
            self.call("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of an element."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({selector!r});"
            " e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        self.drag((x, y))

    def drag(self, *places: tuple[float, float], shift: bool = False) -> None:
        """Press the mouse at a place of the window, go on to others, and let go at the last."""
        event = {"button": "left", "clickCount": 1, "modifiers": 8 if shift else 0}
        moves = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(moves, [*places, places[-1]], strict=True):
            self.call("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **event})

    def choose_file(self, selector: str, path: Path) -> None:
        """As in the dialog of a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.call("DOM.setFileInputFiles", {"nodeId": node, "files": [str(path)]})

    def downloaded(self, pattern: str) -> Path:
        """The one file of that name that the page saved; it is empty until it is whole."""
        self.wait_for(
            lambda: any(path.stat().st_size for path in self.downloads.glob(pattern)),
            f"a download like {pattern}",
        )
        (path,) = self.downloads.glob(pattern)
        return path

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", size)

    def screenshot(self, path: Path) -> None:
        data = self.call("Page.captureScreenshot", {"format": "png"})["data"]
        path.write_bytes(base64.b64decode(data))

    def call(
        self, method: str, params: dict[str, Any] | None = None, session: str | None = ""
    ) -> dict[str, Any]:
        """One command of the protocol. `session`: None for one of the browser itself."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = os.read(self._in, 1 << 20)
            assert more, "the browser has gone"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.console.append(params["exceptionDetails"]["text"])
            case "Runtime.consoleAPICalled":
                self.console.append(str(params["args"]))
            case "Log.entryAdded":
                self.console.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
