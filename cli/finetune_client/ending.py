"""Jobs of this machine end with the interpreter that began them: a script that ends, a kernel that is restarted."""

import atexit
import threading
import time

from finetune_cli.local.stopping import Stop

#: How long jobs may take to save a checkpoint, and what was killed then to be gone, with the files that it was given.
SAVING_SECONDS, KILLED_SECONDS = 60.0, 10.0
_RUNNING: dict[threading.Thread, Stop] = {}


def start(thread: threading.Thread, stop: Stop) -> None:
    """Start the thread of a job, which ends once `stop` is asked to."""
    _RUNNING[thread] = stop
    thread.start()


def ended() -> None:
    """Forget the job of this thread: it has ended."""
    _RUNNING.pop(threading.current_thread(), None)


@atexit.register
def end_all() -> None:
    """Have every job that runs save a checkpoint and end; what takes too long is killed, and at Ctrl-C all of them."""
    running = {thread: stop for thread, stop in [*_RUNNING.items()] if thread.is_alive()}  # after a fork none is
    for stop in running.values():
        if not stop:
            stop.ask()
    try:
        _join(running, SAVING_SECONDS)
    finally:
        left = {thread: stop for thread, stop in running.items() if thread.is_alive()}
        for stop in left.values():
            stop.ask()
        _join(left, KILLED_SECONDS)


def _join(threads: dict[threading.Thread, Stop], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
