"""Ends processes by number and waits for their end; a number that is given to another process meanwhile is safe."""

import os
import select
import signal
import time
from collections.abc import Sequence


def kill(pids: Sequence[int], *, first: signal.Signals = signal.SIGKILL, grace_seconds: float = 10) -> None:
    """Signal all and wait until they are gone, with SIGKILL to those left after `grace_seconds`."""
    for sent in (first, signal.SIGKILL):
        handles = [handle for pid in pids if (handle := _open(pid)) is not None]
        for handle in handles:
            _send(handle, sent)
        all_ended = _wait(handles, seconds=grace_seconds)
        for handle in handles:
            _reap(handle)
            os.close(handle)
        if all_ended:
            return


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _send(handle: int, sent: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, sent)
    except ProcessLookupError:
        return


def _reap(handle: int) -> None:
    """Let go of a process that this one started itself: until then it still counts in its control group."""
    try:
        os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return


def _wait(handles: Sequence[int], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    for handle in handles:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return False
    return True
