"""The studio as a person meets it: its command in a process of its own, its page in Chromium."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDED = "needs Chromium: apt-get install chromium, or .venv/bin/python -m playwright install chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000  # milliseconds that a page may take on a machine that does much else
WINDOW: ViewportSize = {"width": 1280, "height": 800}
ANSWERING = 300  # seconds that a studio may take for what it does in the background
MARGIN = 24  # that the page leaves around an image which it fits into its stage


# Resolves with the milliseconds from the next release of the mouse button to the drawing of what was learnt from it.
WATCH = """async () => {
  const { model, on } = await import("/static/model.js");
  if (!window.hears) {
    on("open", () => window.looked?.());
    document.addEventListener("pointerup", (event) => { window.released = event.timeStamp; }, true);
    window.hears = true;
  }
  const before = model.revision;
  window.answer = new Promise((resolve) => {
    window.looked = () => {
      if (model.revision <= before || model.round <= window.roundBefore) return;
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - window.released)));
    };
  });
  window.roundBefore = (await (await fetch("/api/state")).json()).status.round;
}"""


class Studio:
    """The command ``sppnet studio``; stopped, it can be started again at the same address.

    Args:
        program: that Python runs as ``sppnet``.
    """

    def __init__(self, folder: Path, *, program: Sequence[str] = ("-m", "sppnet.cli")) -> None:
        self.folder, self.port, self._program = folder, 0, program
        self.start()

    def start(self) -> None:
        """Start it and wait for its address."""
        options = ["--no-browser", "--port", str(self.port)]
        command = [sys.executable, *self._program, "studio", str(self.folder), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        atexit.register(self.process.kill)  # whatever becomes of who drives it
        self.address = self._output().readline().split()[-1]
        self.port = int(self.address.rsplit(":", 1)[1])

    def kill(self) -> None:
        """End it as a crash would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._output().close()

    def interrupt(self) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=30)
        self._output().close()
        return code

    def _output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser without a window: Debian's, or the one that Playwright has installed for itself.

    Raises:
        FileNotFoundError: there is neither; the message says how to get one.
    """
    with sync_playwright() as playwright:
        if CHROMIUM is None and not Path(playwright.chromium.executable_path).is_file():
            raise FileNotFoundError(NEEDED)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def begin(page: Page, name: str) -> None:
    """Name the first class on the page of a folder without labels."""
    page.locator("#first-class-name").fill(name)
    page.get_by_role("button", name="Begin").click()
    page.locator("#classes", has_text=name).wait_for()


def place_of(page: Page, size: tuple[int, int], point: Sequence[float]) -> tuple[float, float]:
    """Return where on the screen a pixel of the fitted image of ``size`` (height, width) lies."""
    frame = page.locator("#stage").bounding_box()
    assert frame is not None
    height, width = size
    scale = min((frame["width"] - MARGIN) / width, (frame["height"] - MARGIN) / height)
    left = frame["x"] + (frame["width"] - width * scale) / 2
    top = frame["y"] + (frame["height"] - height * scale) / 2
    return left + point[0] * scale, top + point[1] * scale


def drag(page: Page, size: tuple[int, int], start: Sequence[float], end: Sequence[float]) -> None:
    """Drag the mouse from one pixel of the image to another."""
    page.mouse.move(*place_of(page, size, start))
    page.mouse.down()
    page.mouse.move(*place_of(page, size, end), steps=3)
    page.mouse.up()


def draw(page: Page, size: tuple[int, int], edges: Sequence[float]) -> None:
    """Draw a box by mouse, Shift held so that no chosen box is moved instead."""
    page.keyboard.down("Shift")
    drag(page, size, edges[:2], edges[2:])
    page.keyboard.up("Shift")


def asked(page: Page, path: str) -> Any:
    """Return what the studio answers to a page's question."""
    return page.evaluate("(path) => fetch(path).then((answer) => answer.json())", path)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that the studio does in the background."""
    end = time.monotonic() + ANSWERING
    while not holds():
        if time.monotonic() > end:
            raise SystemExit("benchmarks: the studio did not answer in time.")
        time.sleep(0.05)
