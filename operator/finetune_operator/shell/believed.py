"""What the API server has said lately and is taken to be so for a while, so that many jobs cost one question."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

MAX_REMEMBERED = 1000
Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class Believed(Generic[Question, Answer]):
    """Answers by what was asked, the newest of them, each for so many seconds; `clock` is monotonic."""

    def __init__(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._answers: OrderedDict[Question, tuple[float, Answer]] = OrderedDict()

    def get(self, question: Question) -> Answer | None:
        """Return the answer, if it was given lately."""
        until, answer = self._answers.get(question, (float("-inf"), None))
        return answer if until > self._clock() else None

    def note(self, question: Question, answer: Answer) -> None:
        """Note an answer."""
        self._answers[question] = (self._clock() + self._seconds, answer)
        self._answers.move_to_end(question)
        while len(self._answers) > MAX_REMEMBERED:
            self._answers.popitem(last=False)
