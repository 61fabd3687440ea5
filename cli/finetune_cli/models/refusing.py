"""Why a model is not to be had, or not to be served."""

from finetune_api.contract import ExitCode


class ModelError(Exception):
    """One line for people: what is wrong and what to do; and the exit code that says so to programs."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code
