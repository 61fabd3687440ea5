"""The one exception that ends a run on purpose: it carries the reason and the sentence that the user reads."""

from finetune_api.contract import ExitCode, exit_code_of
from finetune_api.reasons import Reason


class RunFailure(Exception):  # noqa: N818 - it is an outcome, told in the user's words
    """The run cannot go on; `message` says what is wrong, why and what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def exit_code(self) -> ExitCode:
        """Return the agreed exit code of the reason."""
        return exit_code_of(self.reason)
