"""Measures the model before, during and after training, and keeps the best."""

import logging
from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer

from finetune_api.contract import Stage
from finetune_api.reasons import Reason
from finetune_trainer.checkpoints.best import BestRecord
from finetune_trainer.data.manifest import InputsManifest
from finetune_trainer.evaluation.baseline import read_baseline, write_baseline
from finetune_trainer.evaluation.dataset import load_retrieval_set
from finetune_trainer.evaluation.encode import Encoder
from finetune_trainer.evaluation.evaluate import Evaluation, Scores
from finetune_trainer.failures import RunFailure
from finetune_trainer.model.inputs import InputReader
from finetune_trainer.model.load import autocast_dtype
from finetune_trainer.training.session import Session

logger = logging.getLogger(__name__)


@dataclass
class Judge:
    """Evaluates one model on the job's evaluation set; without a set it measures nothing and the last model wins."""

    session: Session
    model: SentenceTransformer
    evaluation: Evaluation | None
    encoder: Encoder
    baseline: Scores | None = None
    best: BestRecord | None = None

    def measure_baseline(self) -> None:
        """Measure the base model, or read what an earlier attempt measured."""
        if self.evaluation is None or not self.session.spec.evaluation.baseline:
            return
        path, spec_hash, ranks = self.session.workspace.baseline, self.session.config.spec_hash, self.session.ranks
        self.baseline = ranks.share(read_baseline(path, spec_hash=spec_hash) if ranks.is_writer else None)
        if self.baseline is None:
            with self.session.tracker.stage(Stage.BASELINE):
                self.baseline = self.evaluation.run(self.encoder)
            if ranks.is_writer:
                write_baseline(path, self.baseline, spec_hash=spec_hash)
        self.session.tracker.measured_baseline(self.baseline)
        logger.info("baseline", extra=dict(self.baseline.values))

    def measure(self, step: int) -> None:
        """Measure the model after `step`, and keep it if it is the best so far."""
        if self.evaluation is None:
            return
        with self.session.tracker.stage(Stage.EVALUATING):
            scores = self.evaluation.run(self.encoder)
        self.session.tracker.measured(scores, step=step)
        logger.info("evaluation", extra={"step": step, **scores.values})
        if self.best is None or scores.value > self.best.scores.value:
            self.best = BestRecord(spec_hash=self.session.config.spec_hash, step=step, scores=scores)
            self.session.tracker.improved(scores, step=step)
            if self.session.ranks.is_writer:
                with self.session.tracker.stage(Stage.SAVING):
                    self.session.best.write(scores, step=step, save=self.save_model)

    def save_model(self, folder: Path) -> None:
        """Write the model as it is now, as users load it; the library's card would hold rows of data."""
        self.model.save_pretrained(str(folder), create_model_card=False)


def appoint_judge(session: Session, inputs: InputsManifest, model: SentenceTransformer, reader: InputReader) -> Judge:
    """Return the judge, who remembers the best model of earlier attempts."""
    evaluation = None
    if inputs.evaluations:
        evaluation = Evaluation(
            dataset=load_retrieval_set(session.workspace, inputs.evaluations[0]),
            metric=session.spec.evaluation.metric,
            dimensions=tuple(session.spec.training.loss.matryoshka_dimensions),
        )
    encoder = Encoder(
        model=model,
        reader=reader,
        ranks=session.ranks,
        batch_size=session.spec.evaluation.batch_size,
        autocast=autocast_dtype(session.spec.model, device=session.ranks.device),
        on_batch=lambda: between_batches(session),
    )
    best = session.ranks.share(session.best.read() if session.ranks.is_writer else None)
    if best is not None:
        session.tracker.improved(best.scores, step=best.step)
    return Judge(session, model, evaluation, encoder, best=best)


def between_batches(session: Session) -> None:
    """Show that evaluation goes on, and end it on all ranks if one is asked to; raises RunFailure."""
    session.tracker.tick()
    (stops,) = session.ranks.sum(bool(session.stop))
    if stops:
        raise RunFailure(Reason.PREEMPTED, "asked to end during an evaluation")
