"""How a process with large libraries begins and ends: for a short job both take longer than its work."""

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

#: transformers and Sentence Transformers import functions of these, for losses and evaluators that we do not use.
UNUSED = ("sklearn.metrics", "scipy.stats", "scipy.optimize")


@contextmanager
def loading_libraries() -> Iterator[None]:
    """Look for no garbage while inside, and never again among what is there by then; put off what nobody uses.

    PyTorch and what is built on it are five thousand modules of which everything stays. Looking through that again and
    again takes a fourth of the time of loading them (docs/benchmarks.md).
    """
    gc.disable()
    put_off = {name: PutOff(name) for name in UNUSED if name not in sys.modules}
    sys.modules.update(put_off)
    try:
        yield
    finally:
        for name in put_off:
            del sys.modules[name]
        gc.freeze()
        atexit.register(gc.unfreeze)  # a process that is taken down after all: some libraries count what they left
        gc.enable()


class PutOff(ModuleType):
    """Stands for a module whose functions are imported and hardly called: it is loaded when one is."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as modules do
        """Return a function that loads the module and does as its own of this name."""
        if name.startswith("__"):  # whoever looks through all modules, as `inspect` does, uses none
            raise AttributeError(name)

        def function(*arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - the module's
            return getattr(importlib.import_module(self.__name__), name)(*arguments, **settings)

        return function


def end(code: int) -> NoReturn:
    """End this process once everybody has tidied up; the memory of modules is left to the system to free."""
    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit leaves them out, and nothing else runs them
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
