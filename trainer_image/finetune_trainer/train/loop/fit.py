"""Runs the trainer, from the newest checkpoint if there is one."""

import logging
from dataclasses import replace

from finetune_api.contract import Stage
from finetune_trainer.recipe.batches.schedule import Schedule
from finetune_trainer.train.checkpoints.store import Checkpoint
from finetune_trainer.train.evaluation.judge import Judge
from finetune_trainer.train.loop.pacer import Pacer
from finetune_trainer.train.loop.saver import Saver
from finetune_trainer.train.loop.timer import CheckpointTimer
from finetune_trainer.train.loop.trainer import GangTrainer
from finetune_trainer.train.report.history import History
from finetune_trainer.train.session import Session
from finetune_trainer.workspace.report import HISTORY

logger = logging.getLogger(__name__)


def newest_checkpoint(session: Session) -> Checkpoint | None:
    """Return where training goes on, the same on every rank; None where it begins."""
    newest = session.checkpoints.newest() if session.ranks.is_writer else None
    shared: Checkpoint | None = session.ranks.share(newest)
    return shared


def fit(
    session: Session, trainer: GangTrainer, schedule: Schedule, judge: Judge, checkpoint: Checkpoint | None
) -> None:
    """Train the trainer's model in place from `checkpoint` to the last step; the judge measures on the way.

    Raises:
        RunFailure: Preempted after a checkpoint, NonFiniteLoss or OutOfMemory; on every rank.

    """
    ranks, tracker = session.ranks, session.tracker
    store = replace(session.checkpoints, began_with=checkpoint.began_with if checkpoint else session.whole_gang)
    # On CPUs the copy would take as much memory again as all that is trained, and writing it the cores that train.
    saver = Saver(session, trainer, store, in_background=ranks.device.type != "cpu")
    trainer.add_callback(
        Pacer(
            trainer,
            ranks=ranks,
            schedule=schedule,
            tracker=tracker,
            stop=session.stop,
            saver=saver,
            timer=CheckpointTimer(every_minutes=session.spec.checkpoint.every_minutes),
            evaluate=judge.measure,
        )
    )
    if checkpoint is not None:
        history = ranks.share(History.read(checkpoint.path / HISTORY) if ranks.is_writer else None)
        tracker.resume(history, checkpoint.status)
        if checkpoint.world_size != ranks.world_size:
            tracker.warn(
                f"training goes on from {checkpoint.path.name} with {ranks.world_size} processes instead of "
                f"{checkpoint.world_size}: with the same rows in each step and other random numbers, as for dropout"
            )
        logger.info("resuming", extra={"step": checkpoint.status.step})
    step = checkpoint.status.step if checkpoint else 0
    tracker.begin(step=step, total_steps=schedule.total_steps)
    with tracker.stage(Stage.TRAINING), saver:
        run_trainer(trainer, checkpoint, schedule)


def run_trainer(trainer: GangTrainer, checkpoint: Checkpoint | None, schedule: Schedule) -> None:
    """Make the steps that are left; after the last one only the weights are needed, the Trainer would add a step."""
    if checkpoint is None:
        trainer.train()
    elif checkpoint.status.step < schedule.total_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint.path))
    else:
        trainer.read_weights(checkpoint.path)
