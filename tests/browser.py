"""A headless Chromium that tests open pages in, spoken to by its own protocol through a pipe."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
PIPES = os.name == "posix"
PROGRAM = next((found for name in NAMES if PIPES and (found := shutil.which(name))), None)
MISSING = f"none of {', '.join(NAMES)} is installed" if PIPES else "Chromium's pipes need POSIX"
PATIENCE = 60.0
"""Seconds; a machine may be busy."""

DURATIONS = """
Promise.all([...document.querySelectorAll("audio")].map(player => new Promise(resolve => {
  const told = () => resolve(Number.isFinite(player.duration) ? player.duration : "Infinity");
  if (player.readyState) told();
  player.onloadedmetadata = told;
  player.onerror = () => resolve(0);
  player.preload = "metadata";
  if (!player.readyState) player.load();
})))
"""
"""How long the sounds of a page last, in seconds; 0 for those that do not load."""

# It reads from file 3 and writes to file 4, and Python cannot fork safely where threads are.
LAUNCH = """
import os, sys
for number, held in zip((3, 4), [os.dup(int(text)) for text in sys.argv[1:3]]):
    os.dup2(held, number)
    os.set_inheritable(number, True)
os.execv(sys.argv[3], sys.argv[3:])
"""

OPTIONS = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests may run as root
    "--disable-dev-shm-usage",  # which containers keep small
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--mute-audio",
]


class Browser:
    """One Chromium with one page.

    Attributes:
        complaints: Errors and warnings of the console since the page was opened.
    """

    def __init__(self):
        self.complaints = []
        self._profile = tempfile.mkdtemp()
        (for_it, self._to), (self._from, from_it) = os.pipe(), os.pipe()
        words = [PROGRAM, *OPTIONS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(for_it), str(from_it), *words],
            pass_fds=(for_it, from_it),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(for_it)
        os.close(from_it)
        self._buffer, self._sent, self._session = b"", 0, None
        target = self._call("Target.createTarget", url="about:blank")
        attach = {"targetId": target["targetId"], "flatten": True}
        self._session = self._call("Target.attachToTarget", **attach)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._session = None
            self._call("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, file: Path, width: int = 1280, dark: bool = False):
        """Open a file, and wait until it is loaded."""
        self.complaints.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=file.resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def faults(self, file: Path) -> list[str]:
        """What is wrong with a page at two widths, light and dark; the last stays open."""
        found, papers = [], set()
        for width, dark in itertools.product((1280, 390), (False, True)):
            where = f"{width} pixels, {'dark' if dark else 'light'}"
            self.open(file, width, dark)
            wide = self.run(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            durations = self.run(DURATIONS)
            papers.add((dark, self.run("getComputedStyle(document.body).backgroundColor")))
            found += [f"{where}: {wide} pixels too wide"] * (wide > 0)
            found += [f"{where}: no player"] * (not durations)
            found += [f"{where}: a player of {d} s" for d in durations if not d or d == "Infinity"]
            found += [f"{where}: {complaint}" for complaint in self.complaints]
        found += [f"dark like light: {papers}"] * (len({paper for _, paper in papers}) != 2)
        return found

    def run(self, code: str):
        """The value of an expression on the page; a promise is waited for."""
        options = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self._call("Runtime.evaluate", expression=code, **options)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"]["exception"].get("description", found))
        return found["result"].get("value")

    def wait(self, condition: str):
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < end, f"{condition} did not come true"
            time.sleep(0.02)

    def press(self, key: str):
        """Press a key where the focus is."""
        text = {"Enter": "\r"}.get(key, "")
        code = {"Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "Tab": 9}[key]
        for kind in ("keyDown", "keyUp"):
            words = {"text": text} if kind == "keyDown" and text else {}
            event = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self._call("Input.dispatchKeyEvent", **event, **words)

    def screenshot(self, file: Path):
        """Write a picture of the whole page."""
        found = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def _call(self, method, **parameters):
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == self._sent:
                assert "error" not in found, found["error"]
                return found["result"]
            self._note(found)

    def _read(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise TimeoutError("Chromium does not answer")
            content = os.read(self._from, 2**20)
            if not content:
                raise OSError("Chromium has ended")
            self._buffer += content
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        """Remember what the console says."""
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"])
        elif event.get("method") == "Log.entryAdded":
            if parameters["entry"]["level"] in ("error", "warning"):
                self.complaints.append(parameters["entry"])
        elif event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in (
            "error",
            "warning",
        ):
            self.complaints.append(parameters)
