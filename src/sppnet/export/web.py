"""An exported model as a static page: onnxruntime-web runs it in the browser, and no image leaves the machine."""

import json
from pathlib import Path
from typing import Final

from sppnet.errors import DataError
from sppnet.storage import write_file

VERSION: Final = "1.30.0"  # of onnxruntime-web, the one that the page is tested with
FILES: Final = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PAGE: Final = ("index.html", "page.css", "page.js")
LICENCE: Final = """MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def runtime_files(modules: Path) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that a page needs, by name.

    Args:
        modules: the folder ``node_modules`` that npm installed it into.
    Raises:
        DataError: it is not there, or of another version.
    """
    package = modules / "onnxruntime-web"
    advice = f"Install it with 'npm install onnxruntime-web@{VERSION}', and name its folder with --node-modules"
    try:
        version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
        files = {name: (package / "dist" / name).read_bytes() for name in FILES}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{package}: must hold onnxruntime-web {VERSION}, got {error}. {advice}.") from error
    if version != VERSION:
        raise DataError(f"{package}: must hold onnxruntime-web {VERSION}, got {version}. {advice}.")
    return files


def write_page(folder: Path, files: dict[str, bytes]) -> None:
    """Put the page and the files of ``runtime_files`` into the folder of an exported model."""
    runtime = folder / "runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_file(runtime / name, content)
    write_file(runtime / "LICENSE", LICENCE)
    for name in PAGE:
        write_file(folder / name, (Path(__file__).parent / "page" / name).read_bytes())
