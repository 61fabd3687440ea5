"""Builds the trainer for the prepared rows and runs it, from the newest checkpoint if there is one."""

import logging

from sentence_transformers import SentenceTransformer
from transformers import PrinterCallback

from finetune_api.contract import Stage
from finetune_api.status import CheckpointStatus
from finetune_trainer.checkpoints.store import Checkpoint, CheckpointStore
from finetune_trainer.data.manifest import InputsManifest
from finetune_trainer.evaluation.judge import Judge
from finetune_trainer.losses.build import build_loss
from finetune_trainer.model.inputs import InputReader
from finetune_trainer.model.load import autocast_dtype, prompts_by_role
from finetune_trainer.report.clock import now
from finetune_trainer.report.history import History
from finetune_trainer.training.arguments import training_arguments
from finetune_trainer.training.pacer import Pacer
from finetune_trainer.training.rows import RowCollator, read_rows
from finetune_trainer.training.sampler import DistinctBatches, number_cells
from finetune_trainer.training.schedule import Schedule, plan
from finetune_trainer.training.session import Session
from finetune_trainer.training.trainer import RetrievalTrainer

logger = logging.getLogger(__name__)
HISTORY = "history.json"


def fit(
    session: Session, inputs: InputsManifest, model: SentenceTransformer, reader: InputReader, judge: Judge
) -> Schedule:
    """Train `model` in place to the last step; the judge measures on the way. Returns the schedule that was kept.

    Raises:
        RunFailure: Preempted after a checkpoint, or NonFiniteLoss; on every rank.

    """
    ranks, tracker = session.ranks, session.tracker
    schedule = plan(session.spec, rows=inputs.train.rows, world_size=ranks.world_size)
    if schedule.batch_size < session.spec.training.per_device_train_batch_size:
        tracker.warn(f"batches of {schedule.batch_size} rows: {inputs.train.rows} rows do not fill larger ones")
    store = session.open_checkpoints()
    checkpoint: Checkpoint | None = ranks.share(store.newest() if ranks.is_writer else None)
    trainer = build_trainer(session, inputs, model, reader, schedule=schedule)
    trainer.add_callback(
        Pacer(
            trainer,
            ranks=ranks,
            schedule=schedule,
            tracker=tracker,
            stop=session.stop,
            save=lambda step: save(session, trainer, store, step=step),
            evaluate=judge.measure,
        )
    )
    if checkpoint is not None:
        history = ranks.share(History.read(checkpoint.path / HISTORY) if ranks.is_writer else None)
        tracker.resume(history, checkpoint.status)
        logger.info("resuming", extra={"step": checkpoint.status.step})
    step = checkpoint.status.step if checkpoint else 0
    tracker.begin(step=step, total_steps=schedule.total_steps)
    with tracker.stage(Stage.TRAINING):
        run_trainer(trainer, checkpoint, schedule)
    return schedule


def run_trainer(trainer: RetrievalTrainer, checkpoint: Checkpoint | None, schedule: Schedule) -> None:
    """Make the steps that are left; after the last one only the weights are needed, the Trainer would add a step."""
    if checkpoint is None:
        trainer.train()
    elif checkpoint.status.step < schedule.total_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint.path))
    else:
        trainer.read_weights(checkpoint.path)


def build_trainer(
    session: Session, inputs: InputsManifest, model: SentenceTransformer, reader: InputReader, *, schedule: Schedule
) -> RetrievalTrainer:
    """Return the trainer with rows, batches and loss; nothing is trained yet."""
    spec, columns = session.spec, inputs.train.columns
    rows = read_rows(session.workspace, inputs.train)
    batches = DistinctBatches(
        number_cells([rows[column.name] for column in columns]),
        batch_size=schedule.batch_size,
        world_size=session.ranks.world_size,
        seed=spec.training.seed,
    )
    arguments = training_arguments(
        spec,
        session.workspace,
        schedule=schedule,
        columns=columns,
        prompts=prompts_by_role(model.prompts),
        device=session.ranks.device,
        autocast=autocast_dtype(spec.model, device=session.ranks.device),
    )
    trainer = RetrievalTrainer(
        ranks=session.ranks,
        batches=batches,
        model=model,
        args=arguments,
        train_dataset=rows,
        loss=build_loss(spec.training.loss, model, world_size=session.ranks.world_size),
        data_collator=RowCollator(
            reader=reader,
            modalities={column.name: column.modality for column in columns},
            preprocess_fn=model.preprocess,
            prompts=arguments.prompts,
        ),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def save(session: Session, trainer: RetrievalTrainer, store: CheckpointStore, *, step: int) -> None:
    """Write the checkpoint of `step`; every rank calls it, the writer writes."""
    with session.tracker.stage(Stage.SAVING):
        if not session.ranks.is_writer:
            trainer.write_state(None)
            return
        with store.write(step) as folder:
            session.tracker.history.write(folder / HISTORY)
            trainer.write_state(folder)
        session.tracker.saved(CheckpointStatus(step=step, time=now()))
        logger.info("checkpoint", extra={"step": step})
