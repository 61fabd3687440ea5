"""The library's refusals, told as what is wrong with the spec."""

from collections.abc import Iterator
from contextlib import contextmanager

from finetune_api.reasons import Reason
from finetune_trainer.causes import one_line
from finetune_trainer.distributed.errors import is_out_of_memory
from finetune_trainer.failures import RunFailure

#: What the library raises about models and arguments. Others, such as those of an accelerator, are not the spec's.
REFUSALS = (AttributeError, ImportError, LookupError, OSError, TypeError, ValueError)
_LONGEST = 450


@contextmanager
def told_as(saying: str, *, reason: Reason = Reason.UNSUPPORTED_MODEL) -> Iterator[None]:
    """Raise what the library refuses as RunFailure: `saying`, which starts with a field path, and the library's words.

    Memory that runs out, and RunFailures, pass through.
    """
    try:
        yield
    except REFUSALS as error:
        if is_out_of_memory(error):
            raise
        raise RunFailure(reason, f"{saying}: {one_line(error)[:_LONGEST]}") from error
