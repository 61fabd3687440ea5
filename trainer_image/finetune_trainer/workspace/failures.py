"""The one exception that ends a run on purpose: it carries the reason and the sentence that the user reads."""

from finetune_api.contract import ExitCode, exit_code_of
from finetune_api.reasons import Reason


class RunFailure(Exception):  # noqa: N818 - it is an outcome, told in the user's words
    """The run cannot go on; `message` says what is wrong, why and what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[type["RunFailure"], tuple[Reason, str]]:
        """Let it be sent to other ranks; an exception is otherwise made again from its text alone."""
        return RunFailure, (self.reason, self.message)

    @property
    def exit_code(self) -> ExitCode:
        """Return the agreed exit code of the reason."""
        return exit_code_of(self.reason)
