"""Where each rank stands, in its log: asked for by a signal, answered without Python having to be at work.

A process that hangs in a library cannot answer otherwise, and a restricted pod lets nobody look in from outside.
"""

import contextlib
import faulthandler
import os
import signal
import sys

from finetune_trainer.train.gang.records import Records

SIGNAL = signal.SIGUSR1


def tell_stacks(records: Records, *, rank: int) -> None:
    """From now on write the stacks of all threads to stderr when asked; call once that goes to the rank's log."""
    faulthandler.register(SIGNAL, file=sys.stderr, all_threads=True)
    records.write_pid(rank, os.getpid())


def ask_for_stacks(records: Records) -> None:
    """Ask every rank of this pod that still runs."""
    for pid in records.read_pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SIGNAL)
