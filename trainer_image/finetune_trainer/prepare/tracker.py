"""Where prepare is: told to `/progress` whenever that is asked, and to the log every few seconds."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from finetune_api.contract import Progress, Stage, round_significant
from finetune_api.status import ProgressStatus
from finetune_trainer.workspace.clock import now
from finetune_trainer.workspace.telemetry import PROGRESS, json_page, serve_pages

Clock = Callable[[], float]

_LOG_SECONDS = 10.0
#: A try that comes after another one passes what is there already a hundred times as fast as what is new to it, so
#: that its mean over all rows would promise an end that is hours away for the next minute.
_RATE_SECONDS = 60.0
_SAMPLE_SECONDS = 1.0

_log = logging.getLogger(__name__)


@dataclass
class Course:
    """One stage, and how far it is with one dataset."""

    stage: Stage
    dataset: str
    total_rows: int
    clock: Clock
    rows: int = 0
    samples: deque[tuple[float, int]] = field(default_factory=deque)
    """When so many rows were done, over the last minute."""
    told: float = 0.0
    """When the log was told last."""

    def __post_init__(self) -> None:
        self.told = self.clock()
        self.samples.append((self.told, 0))

    def count(self, rows: int) -> None:
        """Say how many rows are done."""
        self.rows, time = rows, self.clock()
        if time - self.samples[-1][0] >= _SAMPLE_SECONDS:
            self.samples.append((time, rows))
        while len(self.samples) > 1 and time - self.samples[1][0] >= _RATE_SECONDS:
            self.samples.popleft()
        if time - self.told >= _LOG_SECONDS:
            self.told = time
            self._log(self.read())

    def read(self) -> ProgressStatus:
        """Return how far it is; without shares, rates and times where nobody knows them."""
        since, before = self.samples[0]
        seconds, rows = self.clock() - since, self.rows
        rate = (rows - before) / seconds if self.total_rows and seconds > 0 else 0.0
        return ProgressStatus(
            stage=self.stage.value,
            dataset=self.dataset,
            rows=rows,
            total_rows=self.total_rows,
            percent=100 * rows // max(1, self.total_rows),
            rows_per_second=round_significant(rate, 3) if rate else None,
            eta_seconds=round((self.total_rows - rows) / rate) if rate else None,
        )

    def _log(self, told: ProgressStatus) -> None:
        counted = {"dataset": self.dataset, "rows": told.rows, "of": told.total_rows}
        left = {"rows_per_second": told.rows_per_second, "seconds_left": told.eta_seconds}
        _log.info(self.stage.lower(), extra={**counted, **left})


class Tracker:
    """Written by the thread that prepares, read by those that answer."""

    def __init__(self, *, attempt: int = 0, job_uid: str = "", clock: Clock = time.monotonic) -> None:
        self._attempt = attempt
        self._job_uid = job_uid
        self._clock = clock
        self.enter(Stage.CHECKING)

    def enter(self, stage: Stage, *, dataset: str = "", of: int = 0) -> Callable[[int], None]:
        """Say what is done from now on, to which dataset; return what is to be told how many `of` its rows are done."""
        self._course = Course(stage, dataset, of, self._clock)
        return self._course.count

    def read(self) -> Progress:
        """Return what `/progress` answers now."""
        progress = self._course.read().model_copy(update={"last_update_time": now()})
        return Progress(attempt=self._attempt, job_uid=self._job_uid, progress=progress)


@contextmanager
def answering(tracker: Tracker, port: int | None) -> Iterator[None]:
    """Answer for the tracker while inside, where a port is named; one that is taken stops nobody from preparing."""
    with ExitStack() as stack:
        try:
            if port is not None:
                stack.enter_context(serve_pages({PROGRESS: json_page(tracker.read)}, port=port))
        except OSError as error:
            _log.warning("progress is not told", extra={"port": port, "error": str(error)})
        yield
