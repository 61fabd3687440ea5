"""The training of one gang, as each of its processes runs it: load, evaluate, train, evaluate, save.

Every rank walks through the same story; rank 0 writes and tells. Begins in `rank`.
"""

import contextlib
from functools import partial

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.contract import RunResult, Stage
from finetune_api.status import ModelStatus
from finetune_trainer.recipe.batches.schedule import Schedule
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.recipe.model.load import describe, load_model, without_bfloat16
from finetune_trainer.train.evaluation.judge import Judge, appoint_judge
from finetune_trainer.train.loop.build import open_trainer
from finetune_trainer.train.loop.fit import fit, newest_checkpoint
from finetune_trainer.train.report.build import result_of, versions
from finetune_trainer.train.session import Session
from finetune_trainer.train.weights.read_once import read_once
from finetune_trainer.workspace.finished import finished_report
from finetune_trainer.workspace.manifest import FileHash, InputsManifest
from finetune_trainer.workspace.own_inputs import read_own_inputs
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import hash_files


def train(session: Session) -> RunResult:
    """Train the job's model and leave the best one in the workspace; a training that is done already ends at once."""
    report = read_finished_report(session)
    if report is None:
        inputs = read_own_inputs(session.workspace, session.config)
        with session.fence.held() if session.ranks.is_writer else contextlib.nullcontext():
            report = train_anew(session, inputs)
    return result_of(report, session.tracker.read())


def train_anew(session: Session, inputs: InputsManifest) -> Report:
    """Train, from the newest checkpoint if there is one, and return the report."""
    model = load_once(session)
    if warning := without_bfloat16(session.spec, device=session.ranks.device):
        session.tracker.warn(warning)
    reader = InputReader.of(model, images=session.workspace.images)
    description = describe(model, revision=inputs.model.revision)
    checkpoint = newest_checkpoint(session)
    began_with = checkpoint.began_with if checkpoint else session.whole_gang
    trainer, schedule = open_trainer(session, inputs, model, reader, began_with=began_with)
    judge = appoint_judge(session, inputs, model, reader, trainer.weights)

    judge.measure_baseline()
    fit(session, trainer, schedule, judge, checkpoint)
    if judge.best is None or session.tracker.history.evaluated_step != schedule.total_steps:
        judge.measure(schedule.total_steps)
    return leave_result(session, inputs, description, judge, schedule)


def load_once(session: Session) -> SentenceTransformer | CrossEncoder:
    """Return the model on this rank's device, with the same weights on every rank."""
    spec, ranks = session.spec, session.ranks
    load = partial(load_model, spec.model, session.workspace, seed=spec.training.seed, computes_on=ranks.device)
    return read_once(lambda device: load(device=device), ranks)


def read_finished_report(session: Session) -> Report | None:
    """Return the report of an earlier attempt that came to the end of the same run, or None."""
    report = None
    if session.ranks.is_writer:
        report = finished_report(session.workspace, session.run, warn=session.tracker.warn)
    shared: Report | None = session.ranks.share(report)
    return shared


def save_result(session: Session, judge: Judge) -> list[FileHash]:
    """Leave the best of all evaluated models as the result, or the last one if nothing was evaluated."""
    with session.tracker.stage(Stage.SAVING), contextlib.nullcontext() if judge.best else judge.weights.whole():
        if not session.ranks.is_writer:
            return []
        with session.fence.whole_folder(session.workspace.model) as folder:
            if judge.best is not None:
                session.best.copy_into(folder)
                return judge.best.files
            judge.save_model(folder)
            return hash_files(folder)


def leave_result(
    session: Session, inputs: InputsManifest, model: ModelStatus, judge: Judge, schedule: Schedule
) -> Report:
    """Leave the model, and the report last of all: where it is, training is over."""
    tracker, files = session.tracker, save_result(session, judge)
    tracker.enter(Stage.DONE)
    report = Report(
        run=session.run,
        model=model,
        datasets=inputs.datasets,
        evaluations=judge.compare(),
        metrics=tracker.metrics,
        steps=schedule.total_steps,
        total_steps=schedule.total_steps,
        seconds={stage: round(seconds, 3) for stage, seconds in tracker.history.seconds.items()},
        curve=tracker.history.curve,
        world_size=session.ranks.world_size,
        files=files,
        versions=versions(),
        warnings=tracker.history.warnings,
    )
    if session.ranks.is_writer:
        session.fence.check()
        report.write(session.workspace.report)
    return report
