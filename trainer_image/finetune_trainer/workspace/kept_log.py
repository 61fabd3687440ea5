"""What a role says goes to the pod's log and, bounded, to the job's volume, where it outlives the pod.

The role runs in a child process, so that its last words are passed on however it ends. A thread of its own writes to
the volume: whatever that does (is full, read-only, gone or hangs), the role and the pod's log go on.
"""

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from finetune_api.workspace import older_log

#: When a log has got so long it is put aside, and what was put aside before goes.
FILE_BYTES = 1024 * 1024
KEPT_ATTEMPTS = 5
#: Where the ranks of a pod beside its first one say whose output follows.
ENV_RANKS = "FINETUNE_RANK_LOGS"
CHUNK_BYTES = 64 * 1024
#: How much of the end of each log is at hand once all is over.
TAIL_BYTES = 16 * 1024
LOOK_EVERY_SECONDS = 0.2
#: How long to wait at the end for a slow volume, and for processes that the role left behind.
LAST_SECONDS = 5.0
STDOUT, STDERR = 1, 2
#: What a rank says first.
_RANK = re.compile(rb"([0-9]{1,6})\n")
GANGS = "attempt-*"


@dataclass
class Keeper:
    """Appends to logs on the volume while inside, from a thread of its own; never raises, never waits long."""

    tails: dict[Path, bytearray] = field(default_factory=dict)
    """The end of what was handed over."""
    _waiting: dict[Path, bytearray] = field(default_factory=dict)
    _missing_bytes: Counter[Path] = field(default_factory=Counter)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _is_over: bool = False

    def __enter__(self) -> Self:
        self._is_over = False
        self._thread = threading.Thread(target=self._work, name="kept-log", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join(LAST_SECONDS)

    def put(self, log: Path, data: bytes) -> None:
        """Hand over what is to be appended to `log`; of what the volume is too slow for, the newest stays."""
        tail = self.tails.setdefault(log, bytearray())
        tail += data
        del tail[:-TAIL_BYTES]
        with self._changed:
            waiting = self._waiting.setdefault(log, bytearray())
            waiting += data
            excess = max(0, len(waiting) - FILE_BYTES)
            del waiting[:excess]
            self._missing_bytes[log] += excess
            self._changed.notify()

    def _work(self) -> None:
        seen: set[Path] = set()
        while taken := self._take():
            for log, data in taken.items():
                missing = self._missing_bytes.pop(log, 0)
                try:
                    if log.parent not in seen:
                        make_room(log.parent)
                        seen.add(log.parent)
                    append(log, (gap(missing) if missing else b"") + data)
                except OSError:
                    self._missing_bytes[log] += missing + len(data)

    def _take(self) -> dict[Path, bytearray]:
        """Return what waits to be written, at least something unless it is all over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_over)
            taken, self._waiting = self._waiting, {}
        return taken


def gap(missing_bytes: int) -> bytes:
    """Return the line that tells of what the volume did not take."""
    return json.dumps({"level": "warning", "event": "log incomplete", "missing_bytes": missing_bytes}).encode() + b"\n"


def append(log: Path, data: bytes) -> None:
    """Append, and put the log aside before it gets too long."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size + len(data) > FILE_BYTES:
            log.replace(older_log(log))
    with log.open("ab") as file:
        file.write(data)


def make_room(folder: Path) -> None:
    """Make the folder of logs; beside that of a gang stay those of the newest gangs before it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not folder.match(GANGS):
        return
    with contextlib.suppress(OSError):
        others = sorted(set(folder.parent.glob(GANGS)) - {folder}, key=lambda other: other.stat().st_mtime)
        for old in others[: 1 - KEPT_ATTEMPTS]:
            shutil.rmtree(old, ignore_errors=True)


def keeping_log(run: Callable[[], int], log: Path, at_end: Callable[[Mapping[Path, bytearray]], None]) -> int:
    """Return what `run` returns in a child process; what that and its ranks write goes to us and to `log`, too.

    A child that a signal has killed ends this process in the same way. In the child, returns what `run` returned.
    Before that, in this process, `at_end` is told how each log ended.
    """
    pipes = {stream: os.pipe() for stream in (STDOUT, STDERR)}
    folder = Path(tempfile.mkdtemp(prefix="finetune-"))
    ranks = listen(folder / "ranks")
    child = os.fork()
    for stream, (_, writing) in pipes.items():
        if child == 0:
            os.dup2(writing, stream)
        os.close(writing)
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return run()
    leave(log)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ears = stack.enter_context(selectors.DefaultSelector())
        for stream, (reading, _) in pipes.items():
            ears.register(reading, selectors.EVENT_READ, Source(stream, log))
        if ranks is not None:
            ears.register(stack.enter_context(ranks), selectors.EVENT_READ, ranks)
        keeper = stack.enter_context(Keeper())
        code = pass_on(child, ears, keeper, log=log)
        at_end(keeper.tails)
    return code if code >= 0 else end_like(-code)


def leave(log: Path) -> None:
    """Say nothing more of our own where that goes to `log`, as on a machine without a pod: the keeper writes it."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(STDERR), log.stat()):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, STDERR)
            os.close(nowhere)


@dataclass
class Source:
    """One end of a pipe or connection."""

    stream: int
    """Our own output that it goes to."""
    log: Path | None
    """None until a rank has said which it is."""


def listen(address: Path) -> socket.socket | None:
    """Return where ranks may call, and tell it to the child; None where the system has no such thing."""
    with contextlib.suppress(OSError):
        ranks = socket.socket(socket.AF_UNIX)
        ranks.bind(str(address))
        ranks.listen()
        os.environ[ENV_RANKS] = str(address)
        return ranks
    return None


def speak_as_rank(rank: int) -> None:
    """Let this process's output go to the log of its rank; where nobody listens it goes where it went before."""
    address = os.environ.get(ENV_RANKS)
    if address is None:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(f"{rank}\n".encode())
        for stream in (STDOUT, STDERR):
            os.dup2(connection.fileno(), stream)


def pass_on(child: int, ears: selectors.BaseSelector, keeper: Keeper, *, log: Path) -> int:
    """Pass on signals and output until the child has ended and all is said; return its exit code, negative a signal."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    code, deadline = None, 0.0
    while code is None or time.monotonic() < deadline:
        ready = ears.select(LOOK_EVERY_SECONDS if code is None else 0)
        for key, _ in ready:
            hear(key, ears, keeper, log=log)
        if code is not None and not ready:
            break
        if code is None and (code := exit_code(child)) is not None:
            deadline = time.monotonic() + LAST_SECONDS
    return code


def hear(key: selectors.SelectorKey, ears: selectors.BaseSelector, keeper: Keeper, *, log: Path) -> None:
    """Take in a rank that calls, or pass on what there is to hear."""
    source: Source | socket.socket = key.data
    if isinstance(source, socket.socket):
        with contextlib.suppress(OSError):  # too many that call
            connection, _ = source.accept()
            ears.register(connection.detach(), selectors.EVENT_READ, Source(STDERR, None))
        return
    data = read(key.fd)
    rank = _RANK.match(data)
    if not data or (source.log is None and rank is None):  # anything in the container may call
        ears.unregister(key.fd)
        os.close(key.fd)
        return
    if source.log is None and rank is not None:
        source.log, data = log.with_name(f"rank-{int(rank[1])}.log"), data[rank.end() :]
    with contextlib.suppress(OSError):  # nobody reads our own output any more
        write(source.stream, data)
    if source.log is not None and data:
        keeper.put(source.log, data)


def read(descriptor: int) -> bytes:
    """Return what there is; nothing at the end."""
    with contextlib.suppress(ConnectionError):
        return os.read(descriptor, CHUNK_BYTES)
    return b""


def write(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(descriptor, data) :]


def exit_code(child: int) -> int | None:
    """Return how the child ended, None while it runs; from then on signals have nobody to go to."""
    ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        return None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return os.waitstatus_to_exitcode(status)


def end_like(number: int) -> int:
    """End by the signal that ended the child; return the exit code that stands for it where it does not end us."""
    with contextlib.suppress(OSError):  # SIGKILL has no handler
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number
