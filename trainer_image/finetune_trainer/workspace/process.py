"""How a process with large libraries begins and ends: for a short job both take longer than its work."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def loading_libraries() -> Iterator[None]:
    """Look for no garbage while inside, and never again among what is there by then.

    PyTorch and what is built on it are five thousand modules of which everything stays. Looking through that again and
    again takes a fourth of the time of loading them (docs/benchmarks.md).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # a process that is taken down after all: some libraries count what they left
        gc.enable()


def end(code: int) -> NoReturn:
    """End this process once everybody has tidied up; the memory of modules is left to the system to free."""
    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit leaves them out, and nothing else runs them
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
