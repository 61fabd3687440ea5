"""Measures the model before, during and after training, and keeps the best."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.contract import Stage
from finetune_api.reasons import Reason
from finetune_api.status import EvaluationScore
from finetune_trainer.recipe.arguments.training import passed_arguments
from finetune_trainer.recipe.capacity.evaluation import MAX_WORKERS
from finetune_trainer.recipe.metrics import (
    candidates_are_ranked,
    confidence_of,
    judging_first,
    metrics_of,
    trained_dimensions,
)
from finetune_trainer.recipe.model.adapters import merged
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.recipe.model.load import autocast_dtype
from finetune_trainer.train.checkpoints.best import BestRecord
from finetune_trainer.train.checkpoints.save import save_model
from finetune_trainer.train.evaluation.baseline import read_baseline, write_baseline
from finetune_trainer.train.evaluation.dataset import load_set
from finetune_trainer.train.evaluation.encode import Encoder
from finetune_trainer.train.evaluation.evaluate import Evaluation, measure
from finetune_trainer.train.evaluation.measurement import Measurement, Scores, scores_of
from finetune_trainer.train.evaluation.pairs import PairScorer
from finetune_trainer.train.evaluation.shares import Shares
from finetune_trainer.train.report.compare import compare, missing_intervals
from finetune_trainer.train.session import Session
from finetune_trainer.train.weights.replicated import Replicated
from finetune_trainer.train.weights.sharded import Sharded
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import InputsManifest

logger = logging.getLogger(__name__)


@dataclass
class Judge:
    """Evaluates one model on the job's evaluation sets; without a set it measures nothing and the last model wins."""

    session: Session
    model: SentenceTransformer | CrossEncoder
    evaluations: Sequence[Evaluation]
    """The first is on the judging set: its metric decides which model is best."""
    reader: Encoder | PairScorer
    weights: Replicated | Sharded
    """How the ranks hold those of the model."""
    baseline: list[Measurement] | None = None
    best: BestRecord | None = None

    def measure_baseline(self) -> None:
        """Measure the base model, or read what an earlier attempt measured."""
        if not self.evaluations or not self.session.spec.evaluation.baseline:
            return
        path, run, ranks = self.session.workspace.baseline, self.session.run, self.session.ranks
        self.baseline = ranks.share(read_baseline(path, run=run) if ranks.is_writer else None)
        if self.baseline is None:
            with self.session.tracker.stage(Stage.BASELINE), self.weights.gathered():
                self.baseline = measure(self.evaluations, self.reader)
            if ranks.is_writer:
                write_baseline(path, self.baseline, run=run)
        self.session.tracker.measured_baseline(scores_of(self.baseline))
        log("baseline", scores_of(self.baseline))

    def measure(self, step: int) -> None:
        """Measure the model after `step` as it would be published, and keep it if it is the best so far."""
        if not self.evaluations:
            return
        with self.session.tracker.stage(Stage.EVALUATING), self.weights.gathered(), merged(self.model):
            measured = measure(self.evaluations, self.reader)
        scores = scores_of(measured)
        self.session.tracker.measured(scores, step=step)
        log("evaluation", scores, step=step)
        if self.best is None or scores[0].value > self.best.judged.value:
            self.best = BestRecord(run=self.session.run, step=step, measurements=measured)
            self.session.tracker.improved(scores[0], step=step)
            with self.session.tracker.stage(Stage.SAVING), self.weights.whole():
                if self.session.ranks.is_writer:
                    self.best = self.session.best.write(self.best, save=self.save_model)

    def save_model(self, folder: Path) -> None:
        """Write the model as it is now, as users load it; where its weights are whole."""
        save_model(self.model, folder)

    def compare(self) -> list[EvaluationScore]:
        """Return every metric of the base model and of the best one, with how sure the improvement is."""
        confidence = confidence_of(self.session.spec)
        compared = compare(self.baseline, self.best.measurements if self.best else None, confidence=confidence)
        for warning in missing_intervals(self.baseline or [], compared):
            self.session.tracker.warn(warning)
        return compared


def appoint_judge(
    session: Session,
    inputs: InputsManifest,
    model: SentenceTransformer | CrossEncoder,
    reader: InputReader,
    weights: Replicated | Sharded,
) -> Judge:
    """Return the judge, who remembers the best model of earlier attempts."""
    arguments = passed_arguments(session.spec.training.arguments, device=session.ranks.device)
    shares = Shares(
        ranks=session.ranks,
        batch_size=session.spec.evaluation.batch_size,
        workers=min(MAX_WORKERS, int(arguments["dataloader_num_workers"])),
        autocast=autocast_dtype(session.spec, device=session.ranks.device),
        on_batch=lambda: between_batches(session),
    )
    evaluations = plan_evaluations(session, inputs)
    if isinstance(model, CrossEncoder):
        judge = Judge(session, model, evaluations, PairScorer(model, reader, shares), weights)
    else:
        judge = Judge(session, model, evaluations, Encoder(model, reader, shares), weights)
    judge.best = session.ranks.share(session.best.read() if session.ranks.is_writer else None)
    if judge.best is not None:
        session.tracker.improved(judge.best.judged, step=judge.best.step)
    return judge


def plan_evaluations(session: Session, inputs: InputsManifest) -> list[Evaluation]:
    """Return what to measure on each prepared set: on the judging set first, and on it alone in every dimension."""
    spec = session.spec
    return [
        Evaluation(
            load_set(session.workspace, prepared, ranked=candidates_are_ranked(spec, prepared.name)),
            metrics_of(spec, prepared.evaluator),
            dimensions=() if place else trained_dimensions(spec),
        )
        for place, prepared in enumerate(judging_first(spec, inputs.evaluations))
    ]


def between_batches(session: Session) -> None:
    """Show that evaluation goes on, and end it on all ranks if one is asked to; raises RunFailure."""
    session.tracker.tick()
    (stops,) = session.ranks.sum(bool(session.stop))
    if stops:
        raise RunFailure(Reason.PREEMPTED, "asked to end during an evaluation")


def log(event: str, scores: Sequence[Scores], **fields: int) -> None:
    """Write one line per set."""
    for one in scores:
        logger.info(event, extra={**fields, "dataset": one.name, **one.values})
