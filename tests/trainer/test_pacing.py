"""What happens to checkpoints between two steps."""

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from finetune_api.reasons import Reason
from finetune_trainer.recipe.batches.schedule import Schedule
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.loop.pacer import Pacer
from finetune_trainer.train.loop.timer import CheckpointTimer
from finetune_trainer.train.report.tracker import Tracker
from finetune_trainer.workspace.failures import RunFailure

SCHEDULE = Schedule(
    batch_size=1, steps_per_epoch=9, total_steps=9, warmup_steps=0, evaluate_every=4, save_every=None, log_every=1
)


class FakeSaver:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.has_failed = self.is_writing = False

    def save(self, step: int) -> None:
        self.asked.append(f"save {step}")

    def finish(self) -> None:
        self.asked.append("finish")
        if self.has_failed:
            raise OSError("the volume is full")


class Training:
    """Steps of a training whose clock and wishes a test sets."""

    def __init__(self) -> None:
        self.saver, self.minutes = FakeSaver(), 0.0
        self.stop = self.stop_in_evaluation = False
        trainer: Any = SimpleNamespace(
            lr_scheduler=SimpleNamespace(get_last_lr=lambda: [0.1]), step_loss=1.0, step_grad_norm=1.0, step_rows=1
        )
        self.pacer = Pacer(
            trainer,
            ranks=Ranks(),
            schedule=SCHEDULE,
            tracker=Tracker(attempt=1),
            stop=_Wish(self),  # type: ignore[arg-type]
            saver=self.saver,  # type: ignore[arg-type]
            timer=CheckpointTimer(every_minutes=15, clock=lambda: 60.0 * self.minutes),
            evaluate=self._evaluate,
        )
        self.state = TrainerState()
        self.pacer.on_train_begin(None, self.state, TrainerControl())

    def _evaluate(self, step: int) -> None:
        if self.stop_in_evaluation:
            raise RunFailure(Reason.PREEMPTED, "asked to end during an evaluation")
        self.saver.asked.append(f"evaluate {step}")

    def make_step(self) -> None:
        self.pacer.on_pre_optimizer_step(None, self.state, TrainerControl())
        self.state.global_step += 1
        self.pacer.on_step_end(None, self.state, TrainerControl())


class _Wish:
    def __init__(self, training: Training) -> None:
        self._training = training

    def __bool__(self) -> bool:
        return self._training.stop


def test_a_training_that_is_asked_to_end_waits_for_its_last_checkpoint() -> None:
    training = Training()
    training.make_step()
    training.stop = True

    with pytest.raises(RunFailure, match="checkpoint of step 2 saved"):
        training.make_step()

    assert training.saver.asked == ["save 2", "finish"]


@pytest.mark.parametrize("minutes", [0.0, 6.0], ids=["none due", "one due"])
def test_one_that_is_asked_to_end_in_an_evaluation_saves_once_and_waits_for_it(minutes: float) -> None:
    training = Training()
    training.stop_in_evaluation = True
    for _ in range(3):
        training.make_step()
    training.minutes = minutes

    with pytest.raises(RunFailure, match="during an evaluation"):
        training.make_step()

    assert training.saver.asked == ["save 4", "finish"]


def test_a_checkpoint_that_failed_ends_training_at_the_next_step() -> None:
    training = Training()
    training.make_step()
    training.saver.has_failed = True

    with pytest.raises(OSError, match="full"):
        training.make_step()

    assert training.saver.asked == ["finish"]


def test_one_that_is_due_while_another_is_being_written_comes_when_that_is_done() -> None:
    training = Training()
    training.minutes, training.saver.is_writing = 6.0, True
    training.make_step()
    training.saver.is_writing = False

    training.make_step()
    training.make_step()

    assert training.saver.asked == ["save 2"]
