"""A process that computes: ``python -m sppnet.web.service.worker LIMITS ENGINE MODEL...``, questions in, answers out.

Images from strangers are decoded here and not in the server: whatever a decoder does, it takes one worker with it
at most. That the pixels are read is said before the answer, so that the server can give each its own time. A worker
ends when the server closes the pipe, or is gone, whatever it is doing.
"""

import dataclasses
import json
import os
import select
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO, Final

from sppnet.errors import SppnetError, places_of
from sppnet.web.service import frames
from sppnet.web.service.limits import ServiceLimits
from sppnet.web.shared.memory import GiveBack, given_back
from sppnet.web.shared.priority import process_gives_way

REST: Final = 5.0  # seconds without a question: whatever is free is given back
OR_EXPORT: Final = ", or serve a folder that 'sppnet export' wrote: it needs no PyTorch"


def main() -> None:
    """Load the models, tell of them, and answer until the pipe closes."""
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    process_gives_way()  # the server answers and refuses while all cores compute
    if hasattr(select, "poll"):
        threading.Thread(target=_end_with_the_server, daemon=True).start()
    limits = ServiceLimits(**json.loads(sys.argv[1]))
    try:
        _work([Path(name) for name in sys.argv[3:]], sys.argv[2], limits, questions, answers)
    except BrokenPipeError:
        os._exit(0)  # the server is gone, and nothing here needs closing


def _end_with_the_server() -> None:
    """End this process once nobody holds the other end of the pipe, in the middle of an answer too."""
    ended = select.poll()
    ended.register(sys.stdin.fileno(), 0)  # that it is hung up is told unasked
    ended.poll()
    os._exit(0)


def _work(paths: list[Path], engine: str, limits: ServiceLimits, questions: BinaryIO, answers: BinaryIO) -> None:
    from sppnet.web.service.answers import answer, describe, load

    try:
        _keep_to_one_thread(paths)
        models = load(paths, engine)
        facts = [describe(name, model) for name, model in models.items()]
    except ModuleNotFoundError as error:
        told = f"serve: needs {error.name}. Install it with: pip install 'sppnet[web,export]'"
        frames.write(answers, {"error": f"{told}{'' if _are_exports(paths) else OR_EXPORT}."}, b"")
        return
    except (SppnetError, OSError) as error:
        frames.write(answers, {"error": str(error)}, b"")
        return
    for name, model in models.items():
        _warm_up(name, model, limits)
    frames.write(answers, {"models": facts}, b"")
    give_back = given_back()
    while (frame := _next_question(questions, give_back)) is not None:
        question, image = frame
        try:
            status, media_type, content = answer(
                models, limits, question, image, read=lambda: frames.write(answers, {"read": True}, b"")
            )
        except Exception as error:  # a fault of ours: the server tells of it, and this worker goes on
            print(places_of(error), file=sys.stderr, flush=True)
            frames.write(answers, {"fault": True}, b"")
            continue
        frames.write(answers, {"status": status, "media_type": media_type}, content)
        give_back()  # the client has its answer meanwhile


def _keep_to_one_thread(paths: list[Path]) -> None:
    """Have PyTorch take one thread, or where all models are exports see to it that nothing here ever loads it."""
    if _are_exports(paths):
        sys.modules["torch"] = None  # type: ignore[assignment]  # so answers are the same with it and without
    else:
        import torch

        torch.set_num_threads(1)


def _are_exports(paths: list[Path]) -> bool:
    return bool(paths) and all(path.is_dir() for path in paths)


def _next_question(questions: BinaryIO, give_back: GiveBack) -> tuple[dict[str, Any], bytes] | None:
    """Wait for a question, and give back whatever is free once none came for a while."""
    if hasattr(select, "poll"):
        coming = select.poll()
        coming.register(questions.fileno(), select.POLLIN)
        if not coming.poll(REST * 1000):
            give_back(rests=True)
    return frames.read(questions)


def _warm_up(name: str, model: Any, limits: ServiceLimits) -> None:
    """Answer once, so that the first client does not wait for compiled code to be loaded."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    from sppnet.web.service.answers import answer

    file = BytesIO()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(file, "PNG")
    verb = "detect" if model.kind == "detector" else "classify"
    options = {"threshold": 0.0, "most": 1, "top": 1, "explain": True}
    answer({name: model}, limits, {"verb": verb, "model": name, "before": {}, **options}, file.getvalue())


def arguments(limits: ServiceLimits, engine: str, paths: list[Path]) -> list[str]:
    """Return what to call this module with."""
    return [json.dumps(dataclasses.asdict(limits)), engine, *map(str, paths)]


if __name__ == "__main__":
    main()
