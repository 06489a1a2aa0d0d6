"""The studio's process is interrupted while pages listen to it."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from PIL import Image


def test_an_interruption_with_a_page_open_says_one_line_and_is_no_failure(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "sppnet.cli", "studio", str(tmp_path), "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as studio:
        assert studio.stdout is not None
        address = studio.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{address}/api/events", timeout=60) as events:
            assert events.readline() == b"event: hello\n"
            studio.send_signal(signal.SIGINT)
            _, said = studio.communicate(timeout=60)
            assert events.read().endswith(b"\n\n")  # it ended as it should, and was not cut
    before, after = said.split("Ctrl-C ends the studio.\n")
    assert "Traceback" not in before
    assert after == "Stopped. Everything is saved.\n"
    assert studio.returncode == 0
