"""A process whose every write is seen before it happens, by whatever library: let through, failed, or its last.

Linux asks a supervisor about system calls that a filter names (seccomp's user notification). So nothing has to be
wrapped: what SQLite or a decoder writes in C is seen like Python's own.
"""

import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CALLS: Final = {
    1: "write", 18: "pwrite", 20: "writev", 296: "pwritev", 257: "open", 82: "rename", 264: "renameat",
    316: "renameat", 87: "unlink", 263: "unlinkat", 83: "mkdir", 258: "mkdirat", 84: "rmdir", 86: "link",
    265: "linkat", 88: "symlink", 266: "symlinkat", 76: "truncate", 77: "ftruncate", 74: "fsync", 75: "fsync",
    285: "fallocate", 40: "sendfile", 326: "copy_file_range",
}  # fmt: skip
OPEN: Final = 257
BY_DESCRIPTOR: Final = {"write": 0, "pwrite": 0, "writev": 0, "pwritev": 0, "ftruncate": 0, "fsync": 0, "fallocate": 0,
                        "sendfile": 0, "copy_file_range": 2}  # fmt: skip
BY_PATH: Final = {"unlink": (0,), "mkdir": (0,), "rmdir": (0,), "truncate": (0,), "rename": (0, 1), "link": (0, 1),
                  "symlink": (1,), "open": (1,), "unlinkat": (1,), "mkdirat": (1,), "renameat": (1, 3),
                  "linkat": (1, 3), "symlinkat": (2,)}  # fmt: skip
REMOVES: Final = frozenset({"unlink", "unlinkat", "rmdir"})  # which no full disk makes fail
HAS_SUPERVISOR: Final = sys.platform == "linux" and platform.machine() == "x86_64"
X86_64: Final = 0xC000003E
SECCOMP, SET_FILTER, NEW_LISTENER, NO_NEW_PRIVILEGES = 317, 1, 1 << 3, 38
RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
NOTICE, REPLY = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
ALLOWED, ASKED = 0x7FFF0000, 0x7FC00000
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # of the filter's language
KILL: Final = -1  # an answer of ``decide``, beside 0 for going on and the number of an error


@dataclass(frozen=True)
class Write:
    """One call that would change a folder: its name, the paths below the folder, and for data where and what."""

    call: str
    paths: tuple[str, ...]
    flags: int = 0
    offset: int = 0
    data: bytes = b""


def supervised(work: Callable[[], object], folder: Path, decide: Callable[[Write], int]) -> int:
    """Do work in a process of its own, and ask before each call that would change a folder.

    Args:
        decide: returns 0, KILL, or the error that the call ends with.
    Returns:
        How the process ended: 0; 1 for an exception; minus the number of its signal.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        code = 2
        try:
            ours.close()
            socket.send_fds(theirs, [b"x"], [_listener()])
            work()
            code = 0
        except OSError:
            code = 1
        except Exception as error:
            code = 1 if any(each.__name__ == "SppnetError" for each in type(error).__mro__) else 2
        finally:
            os._exit(code)
    theirs.close()
    with ours:
        _, received, _, _ = socket.recv_fds(ours, 1, 1)
    if not received:
        os.waitpid(child, 0)
        raise OSError(errno.ENOSYS, "this system has no supervision of calls")
    try:
        _answer(received[0], child, folder.resolve(), decide)
    finally:
        os.close(received[0])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _listener() -> int:
    """Have the supervisor asked about this process's writes from now on; return what it listens to."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, X86_64), (RETURN, 0, 0, ALLOWED), (LOAD, 0, 0, 0)]
    others = [number for number in CALLS if number != OPEN]
    # Of what is opened only what is opened for writing, or made.
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    program += [(EQUAL, 0, 4, OPEN), (LOAD, 0, 0, 32), (ANY_BIT, 0, 1, writing), (RETURN, 0, 0, ASKED)]
    program += [(RETURN, 0, 0, ALLOWED)]
    for number in others:
        program += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ASKED)]
    program += [(RETURN, 0, 0, ALLOWED)]
    lines = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(lines)
    head = struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(buffer))
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    descriptor = libc.syscall(SECCOMP, SET_FILTER, NEW_LISTENER, ctypes.create_string_buffer(head))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "no supervision of calls")
    return int(descriptor)


def _answer(listener: int, child: int, folder: Path, decide: Callable[[Write], int]) -> None:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while poll.poll()[0][1] & select.POLLIN:
        notice = bytearray(NOTICE.size)
        try:
            fcntl.ioctl(listener, RECEIVE, notice)
        except OSError:  # it ended meanwhile
            continue
        key, process, _, number, _, _, *arguments = NOTICE.unpack(notice)
        write = _seen(process, number, arguments, folder)
        answer = decide(write) if write else 0
        if answer == KILL:
            os.kill(child, signal.SIGKILL)
            return
        reply = REPLY.pack(key, 0, -answer, 0 if answer else CONTINUE)
        try:
            fcntl.ioctl(listener, SEND, reply)
        except OSError:
            continue


def _seen(process: int, number: int, arguments: list[int], folder: Path) -> Write | None:
    """Return what a call would do below the folder; None where it is elsewhere."""
    call = CALLS[number]
    if call in BY_DESCRIPTOR:
        descriptor = arguments[BY_DESCRIPTOR[call]]
        names = [str(Path(f"/proc/{process}/fd/{descriptor}").readlink())]
    else:
        names = [_path(process, arguments, place, call) for place in BY_PATH[call]]
    below = tuple(_below(name, folder) for name in names)
    if any(each is None for each in below):
        return None
    paths = tuple(each for each in below if each is not None)
    if call in ("write", "pwrite", "writev", "pwritev"):
        return Write(call, paths, 0, _offset(process, call, arguments, names[0]), _data(process, call, arguments))
    if call in ("ftruncate", "truncate"):
        return Write(call, paths, offset=arguments[1])
    return Write(call, paths, flags=arguments[2] if call == "open" else 0)


def _below(name: str, folder: Path) -> str | None:
    if name == str(folder):
        return "."
    return name.removeprefix(f"{folder}/") if name.startswith(f"{folder}/") else None


def _path(process: int, arguments: list[int], place: int, call: str) -> str:
    name = os.fsdecode(_memory(process, arguments[place], 4096).split(b"\0")[0])
    at = arguments[place - 1] & 0xFFFFFFFF if call.endswith("at") or call == "open" else 0xFFFFFF9C
    start = f"/proc/{process}/cwd" if at == 0xFFFFFF9C else f"/proc/{process}/fd/{at}"
    return os.path.normpath(name if name.startswith("/") else f"{Path(start).readlink()}/{name}")


def _memory(process: int, address: int, count: int) -> bytes:
    """Return bytes of another process, fewer where its memory ends."""
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        try:
            return memory.read(count)
        except OSError:  # it ends within: up to the page's end
            memory.seek(address)
            return memory.read(4096 - address % 4096)


def _offset(process: int, call: str, arguments: list[int], name: str) -> int:
    if call.startswith("p"):
        return arguments[3]
    facts = Path(f"/proc/{process}/fdinfo/{arguments[0]}").read_text(encoding="ascii").split()
    if int(facts[facts.index("flags:") + 1], 8) & os.O_APPEND:
        return Path(name).stat().st_size
    return int(facts[facts.index("pos:") + 1])


def _data(process: int, call: str, arguments: list[int]) -> bytes:
    if call in ("write", "pwrite"):
        return _memory(process, arguments[1], arguments[2])
    vectors = _memory(process, arguments[1], 16 * arguments[2])
    return b"".join(_memory(process, *each) for each in struct.iter_unpack("=QQ", vectors))
