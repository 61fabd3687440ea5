"""Why a verb ends before its end."""

from finetune_api.contract import ExitCode


class RefusalError(Exception):
    """One line for people: what is wrong and what to do; and the exit code that says so to programs."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code
