"""Where this rank is: told to `/progress` and `/metrics` by the writer, kept for the report by all."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from finetune_api.contract import MAX_WARNINGS, MESSAGE_LIMIT, Progress, Stage, Work, round_significant
from finetune_api.status import CheckpointStatus, MetricsStatus, ProgressStatus
from finetune_trainer.train.evaluation.measurement import Scores
from finetune_trainer.train.report.history import History, Made
from finetune_trainer.train.report.metrics import TrainMetrics
from finetune_trainer.workspace.clock import now
from finetune_trainer.workspace.outline import outline
from finetune_trainer.workspace.report import CurvePoint, KeptCurve


@dataclass(frozen=True)
class Step:
    """What is known of one optimizer step."""

    number: int
    epoch: float
    loss: float
    """Averaged over the ranks."""
    learning_rate: float
    grad_norm: float
    rows: int
    """Over all ranks."""
    seconds: float


@dataclass
class Tracker:
    """Written by the training thread, read by the telemetry thread."""

    attempt: int
    job_uid: str = ""
    num_processes: int = 1
    """All of the gang."""
    history: History = field(default_factory=History)
    series: TrainMetrics = field(default_factory=TrainMetrics)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _progress: ProgressStatus = field(default_factory=lambda: ProgressStatus(stage=Stage.LOADING))
    _metrics: MetricsStatus = field(default_factory=MetricsStatus)
    _checkpoint: CheckpointStatus | None = None
    _last_step_time: str = field(default_factory=now)
    _stage_since: float = field(default_factory=time.monotonic)
    _first_step: int = 0
    _started: float | None = None
    _kept: Made = field(default_factory=Made)
    _resumed: Made | None = None
    _kept_curve: list[CurvePoint] = field(default_factory=list)

    @property
    def metrics(self) -> MetricsStatus:
        """Return the newest numbers."""
        return self._metrics

    @property
    def checkpoint(self) -> CheckpointStatus | None:
        """Return the newest verified checkpoint."""
        return self._checkpoint

    def read(self) -> Progress:
        """Return what `/progress` answers now."""
        with self._lock:
            return Progress(
                attempt=self.attempt,
                job_uid=self.job_uid,
                progress=self._progress.model_copy(update={"last_update_time": now()}),
                metrics=self._metrics,
                curve=outline(self.history.curve),
                checkpoint=self._checkpoint,
                work=self._work(),
                nonfinite_steps=self.history.nonfinite_steps,
                last_step_time=self._last_step_time,
                warnings=[warning[:MESSAGE_LIMIT] for warning in self.history.warnings[-MAX_WARNINGS:]],
            )

    def kept_curve(self) -> KeptCurve:
        """Return what `/curve` answers now."""
        with self._lock:
            return KeptCurve(
                attempt=self.attempt,
                job_uid=self.job_uid,
                is_known=self._started is not None,
                baseline_score=self._metrics.baseline_score,
                curve=self._kept_curve,
            )

    def resume(self, history: History, checkpoint: CheckpointStatus) -> None:
        """Go on from an earlier attempt; what this one has spent and warned of so far is added."""
        with self._lock:
            spent, warned = self.history.seconds, self.history.warnings
            for stage, seconds in spent.items():
                history.seconds[stage] = history.seconds.get(stage, 0.0) + seconds
            history.warnings = list(dict.fromkeys(history.warnings + warned))
            self._kept, own = (history.made if history.made.job_uid == self.job_uid else Made()), self.history.made
            history.made = Made(
                useful=self._kept.useful + own.useful, evaluating=self._kept.evaluating + own.evaluating
            )
            self.history, self._checkpoint, self._kept_curve = history, checkpoint, list(history.curve)
            self._metrics = self._metrics.model_copy(update=newest_numbers(history))
            self.series.checkpoint_step.set(checkpoint.step)
            if history.latest:
                self._decide_by("score", history.latest[0])
                self._export(history.latest)

    def warn(self, warning: str) -> None:
        """Record something that did not stop training but deserves a look."""
        with self._lock:
            self.history.warnings.append(warning)

    def enter(self, stage: Stage) -> None:
        """Say what this rank does from now on, which is no standstill; its time so far goes to the stage before."""
        with self._lock:
            since, self._stage_since = self._stage_since, time.monotonic()
            before = self._progress.stage
            seconds = self._stage_since - since
            self.history.seconds[before] = self.history.seconds.get(before, 0.0) + seconds
            self.history.made = self.history.made.plus(before, seconds * self.num_processes)
            self._progress = self._progress.model_copy(update={"stage": stage.value})
            self.tick()

    @contextlib.contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Be in `stage` while inside, then in the one before again."""
        before = Stage(self._progress.stage)
        self.enter(stage)
        yield
        self.enter(before)

    def tick(self) -> None:
        """Say that something was computed: this rank is not stuck."""
        with self._lock:
            self._last_step_time = now()

    def begin(self, *, step: int, total_steps: int) -> None:
        """Say at which step training starts or goes on."""
        with self._lock:
            self._first_step, self._started = step, time.monotonic()
            self._resumed = self._kept
            self.history.made = self.history.made.model_copy(update={"job_uid": self.job_uid})
            self._set_progress(step=step, total_steps=total_steps)
            self.series.total_steps.set(total_steps)

    def made(self, step: Step, *, in_curve: bool) -> None:
        """Record one optimizer step."""
        with self._lock:
            self.tick()
            self._set_progress(step=step.number, total_steps=self._progress.total_steps, epoch=step.epoch)
            loss = round_significant(step.loss) if math.isfinite(step.loss) else None
            learning_rate = round_significant(step.learning_rate)
            self._metrics = self._metrics.model_copy(update={"train_loss": loss, "learning_rate": learning_rate})
            if in_curve:
                point = CurvePoint(step=step.number, loss=loss, learning_rate=learning_rate, time=now())
                self.history.curve.append(point)
            self.series.loss.set(step.loss)
            self.series.learning_rate.set(step.learning_rate)
            self.series.grad_norm.set(step.grad_norm)
            self.series.samples.inc(step.rows)
            self.series.step_seconds.observe(step.seconds)

    def left_out(self) -> None:
        """Record a step whose loss or gradient was no number."""
        with self._lock:
            self.tick()
            self.history.nonfinite_steps += 1
            self.series.nonfinite.inc()

    def measured_baseline(self, scores: list[Scores]) -> None:
        """Record the scores of the base model on every set, the judging one first."""
        with self._lock:
            self._decide_by("baseline_score", scores[0])
            self._export(scores)

    def measured(self, scores: list[Scores], *, step: int) -> None:
        """Record an evaluation of the model after `step` on every set, the judging one first."""
        with self._lock:
            self.history.evaluated_step, self.history.latest = step, scores
            values = {f"{one.name}/{metric}": value for one in scores for metric, value in one.values.items()}
            told = {name: round_significant(value) for name, value in values.items()}
            score = round_significant(scores[0].value)
            self.history.curve.append(CurvePoint(step=step, score=score, scores=told, time=now()))
            self._decide_by("score", scores[0])
            self._export(scores)

    def improved(self, scores: Scores, *, step: int) -> None:
        """Record that the model after `step` is the best so far, by these scores on the judging set."""
        with self._lock:
            self._decide_by("best_score", scores)
            self._metrics = self._metrics.model_copy(update={"best_step": step})

    def saved(self, checkpoint: CheckpointStatus, history: History) -> None:
        """Record the newest verified checkpoint, and the history in it. It says nothing of the thread that trains."""
        with self._lock:
            self._checkpoint, self._kept, self._kept_curve = checkpoint, history.made, list(history.curve)
            self.series.checkpoint_step.set(checkpoint.step)

    def _set_progress(self, *, step: int, total_steps: int, epoch: float | None = None) -> None:
        changes = {
            "step": step,
            "total_steps": total_steps,
            "percent": 100 * step // max(1, total_steps),
            "epoch": round_significant(self._progress.epoch if epoch is None else epoch),
            "eta_seconds": self._eta_seconds(step, total_steps),
        }
        self._progress = self._progress.model_copy(update=changes)
        self.series.step.set(step)
        self.series.epoch.set(self._progress.epoch)

    def _eta_seconds(self, step: int, total_steps: int) -> int | None:
        """Return the seconds left at the speed of this attempt, evaluations included."""
        if self._started is None or step <= self._first_step:
            return None
        elapsed = time.monotonic() - self._started
        return round(elapsed / (step - self._first_step) * (total_steps - step))

    def _work(self) -> Work:
        """Return whole seconds whose sum never falls, however often some of them are saved."""
        stage, seconds = self._progress.stage, time.monotonic() - self._stage_since
        made = self.history.made.plus(stage, seconds * self.num_processes)
        kept = made if stage == Stage.DONE else self._kept
        useful, evaluating = int(kept.useful), int(kept.evaluating)
        resumed = None if self._resumed is None else int(self._resumed.useful) + int(self._resumed.evaluating)
        return Work(
            useful_seconds=useful,
            evaluating_seconds=evaluating,
            unsaved_seconds=int(made.useful) + int(made.evaluating) - useful - evaluating,
            resumed_seconds=resumed,
        )

    def _decide_by(self, field: str, judging: Scores) -> None:
        self._metrics = self._metrics.model_copy(update={field: round_significant(judging.value)})
        self.series.decide_by(field, judging.metric, judging.value)

    def _export(self, scores: list[Scores]) -> None:
        for one in scores:
            for metric, value in one.values.items():
                self.series.score.labels(one.name, metric).set(value)
            for dimension, value in one.dimensions.items():
                self.series.dimension_score.labels(one.name, one.metric, str(dimension)).set(value)


def newest_numbers(history: History) -> dict[str, float | None]:
    """Return what a history's last steps said."""
    steps = [point for point in history.curve if point.loss is not None]
    return {
        "train_loss": steps[-1].loss if steps else None,
        "learning_rate": steps[-1].learning_rate if steps else None,
    }
