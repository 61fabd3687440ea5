# ruff: noqa: ANN401, ARG002 - signatures are the library's
"""What happens between two steps: all ranks look at the step together, then log, save, evaluate or stop as one."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from finetune_api.reasons import Reason
from finetune_trainer.recipe.batches.schedule import Schedule
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.gang.stop import StopRequest
from finetune_trainer.train.loop.saver import Saver
from finetune_trainer.train.loop.timer import CheckpointTimer
from finetune_trainer.train.loop.trainer import GangTrainer
from finetune_trainer.train.report.tracker import Step, Tracker
from finetune_trainer.workspace.failures import RunFailure

logger = logging.getLogger(__name__)
#: Steps in a row whose loss or gradient is not a number, after which training ends.
PATIENCE = 3


class Pacer(TrainerCallback):  # type: ignore[misc]
    """Hooks of the Trainer's loop. What they save and evaluate, all ranks do after the same step."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        trainer: GangTrainer,
        *,
        ranks: Ranks,
        schedule: Schedule,
        tracker: Tracker,
        stop: StopRequest,
        saver: Saver,
        timer: CheckpointTimer,
        evaluate: Callable[[int], None],
    ) -> None:
        self._trainer = trainer
        self._ranks = ranks
        self._schedule = schedule
        self._tracker = tracker
        self._stop = stop
        self._saver = saver
        self._timer = timer
        self._is_due = False
        self._saved_step = 0
        self._save_failed = False
        self._evaluate = evaluate
        self._since = time.monotonic()
        self._loss = self._grad_norm = math.nan
        self._learning_rate = 0.0
        self._stops = False
        self._finite = True
        self._nonfinite_in_a_row = 0
        self._num_overflows = 0

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Make up for an evaluation that the checkpoint was taken before, and start the clocks."""
        self._saved_step = step = state.global_step
        if step > 0 and self._schedule.evaluates_after(step) and self._tracker.history.evaluated_step != step:
            self._evaluate_or_save(step)
        self._since = time.monotonic()
        self._timer.start()

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Choose the epoch's order; the Trainer forgets to on several ranks when it resumes in the middle of one."""
        self._trainer.batches.set_epoch(int(state.epoch or 0))

    def on_pre_optimizer_step(
        self, args: Any, state: TrainerState, control: TrainerControl, optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Agree on whether the step is usable, the last, and to be saved; an unusable one changes no weight.

        Whether the clock asks for a checkpoint is the writer's word. One that is still being written is not waited for.

        Raises:
            RunFailure: too many unusable ones in a row; on every rank.

        """
        self._learning_rate = self._trainer.lr_scheduler.get_last_lr()[0]
        loss, norm = float(self._trainer.step_loss), self._trainer.step_grad_norm
        has_loss = math.isfinite(loss)
        finite = has_loss and math.isfinite(norm)
        is_due = self._ranks.is_writer and self._timer.is_due and not self._saver.is_writing
        stops, broken, lost, failed, due, total = self._ranks.sum(
            bool(self._stop), not finite, not has_loss, self._saver.has_failed, is_due, loss if finite else 0.0
        )
        self._stops, self._finite, self._save_failed, self._is_due = stops > 0, broken == 0, failed > 0, due > 0
        if self._finite:
            self._nonfinite_in_a_row = 0
            self._loss, self._grad_norm = total / self._ranks.world_size, norm
            return
        optimizer.zero_grad()
        if not lost and self._trainer.scales_less:
            self._num_overflows += 1
            return
        self._nonfinite_in_a_row += 1
        self._tracker.left_out()
        logger.warning("loss or gradient is not a number", extra={"step": state.global_step + 1})
        if self._nonfinite_in_a_row >= PATIENCE:
            raise RunFailure(
                Reason.NON_FINITE_LOSS,
                f"the loss or its gradient was not a number in {PATIENCE} steps in a row, "
                f"the last of them step {state.global_step + 1}; nothing is published{self._advice()}",
            )

    def _advice(self) -> str:
        if self._trainer.accelerator.scaler is None:
            return ""
        return "; in float16 values above 65504 are infinite: leave training.arguments.fp16 out"

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log, save, evaluate, or save and stop.

        Raises:
            RunFailure: Preempted, on every rank after the same step.
            Exception: what kept an earlier checkpoint from being written, on every rank after the same step.

        """
        step = state.global_step
        self._record(step, epoch=state.epoch or 0.0)
        if self._save_failed:
            self._saver.finish()
        if self._stops or self._is_due or self._schedule.saves_after(step):
            self._save(step)
        if self._stops:
            self._saver.finish()
            raise RunFailure(Reason.PREEMPTED, f"asked to end; checkpoint of step {step} saved")
        if self._schedule.evaluates_after(step):
            self._evaluate_or_save(step)
        self._since = time.monotonic()

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell how many steps the search for a scale has cost."""
        if self._num_overflows:
            self._tracker.warn(
                f"training.arguments.fp16: {self._num_overflows} of {state.global_step} steps were left out because "
                "their gradients were too large for float16; from each on the loss was scaled half as much"
            )

    def _evaluate_or_save(self, step: int) -> None:
        """Evaluate; if that is cut short because the gang is asked to end, save what was trained until here."""
        try:
            self._evaluate(step)
        except RunFailure as failure:
            if failure.reason is Reason.PREEMPTED:
                if self._saved_step != step:
                    self._save(step)
                self._saver.finish()
            raise

    def _save(self, step: int) -> None:
        self._saver.save(step)
        self._saved_step = step
        self._timer.restart()

    def _record(self, number: int, *, epoch: float) -> None:
        """Record the step; one that was left out has taught no rows, and shows the numbers of the one before."""
        seconds = time.monotonic() - self._since
        in_curve = self._finite and self._schedule.logs_after(number)
        step = Step(
            number=number,
            epoch=epoch,
            loss=self._loss,
            learning_rate=self._learning_rate,
            grad_norm=self._grad_norm,
            rows=self._trainer.step_rows if self._finite else 0,
            seconds=seconds,
        )
        self._tracker.made(step, in_curve=in_curve)
        if in_curve:
            fields = {"step": number, "loss": step.loss, "lr": step.learning_rate, "seconds": round(seconds, 3)}
            logger.info("step", extra=fields)
