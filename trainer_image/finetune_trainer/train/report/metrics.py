"""Prometheus series of one training, under the names that dashboards rely on."""

import platform
import resource

import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from finetune_api.evaluators import is_ndcg

#: Field of MetricsStatus, series of it, series of the same where the metric is NDCG, and of what it is.
SCORES = (
    ("score", "finetune_train_score", "finetune_train_ndcg", "at the newest evaluation"),
    ("best_score", "finetune_train_best_score", "finetune_train_best_ndcg", "of the best model so far"),
    ("baseline_score", "finetune_train_baseline_score", "finetune_train_baseline_ndcg", "of the base model"),
)
STEP_SECONDS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)


class TrainMetrics:
    """The series, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.loss = Gauge(
            "finetune_train_loss", "Training loss of the newest step, averaged over the ranks.", registry=self.registry
        )
        self.step = Gauge("finetune_train_step", "Optimizer steps made.", registry=self.registry)
        self.total_steps = Gauge("finetune_train_total_steps", "Optimizer steps planned.", registry=self.registry)
        self.epoch = Gauge("finetune_train_epoch", "Epochs made.", registry=self.registry)
        self.learning_rate = Gauge(
            "finetune_train_learning_rate", "Learning rate of the newest step.", registry=self.registry
        )
        self.grad_norm = Gauge(
            "finetune_train_grad_norm", "Gradient norm of the newest step, before clipping.", registry=self.registry
        )
        self.samples = Counter(
            "finetune_train_samples", "Rows trained on by this attempt, over all ranks.", registry=self.registry
        )
        self.nonfinite = Counter(
            "finetune_train_nonfinite_steps", "Steps left out: loss or gradient no number.", registry=self.registry
        )
        self.step_seconds = Histogram(
            "finetune_train_step_duration_seconds",
            "Time of one step.",
            buckets=STEP_SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.checkpoint_step = Gauge(
            "finetune_train_checkpoint_step", "Step of the newest checkpoint.", registry=self.registry
        )
        self._deciding = {
            field: Gauge(name, f"spec.evaluation.metric {of_what}.", ["metric"], registry=self.registry)
            for field, name, _, of_what in SCORES
        }
        self._deciding_ndcg = {
            field: Gauge(name, f"The same where it is NDCG: {of_what}.", ["metric"], registry=self.registry)
            for field, _, name, of_what in SCORES
        }
        self.score = Gauge("finetune_eval_score", "Newest score.", ["dataset", "metric"], registry=self.registry)
        self.dimension_score = Gauge(
            "finetune_eval_dimension_score",
            "Newest score of cut embeddings.",
            ["dataset", "metric", "dimension"],
            registry=self.registry,
        )
        memory = Gauge("finetune_train_memory_bytes", "Peak memory of rank 0.", ["kind"], registry=self.registry)
        memory.labels("resident").set_function(peak_resident_bytes)
        memory.labels("accelerator").set_function(peak_accelerator_bytes)

    def decide_by(self, field: str, metric: str, value: float) -> None:
        """Set what decides which model is best, under its field of MetricsStatus."""
        for gauges in [self._deciding, *([self._deciding_ndcg] if is_ndcg(metric) else [])]:
            gauges[field].labels(metric).set(value)


def peak_resident_bytes() -> float:
    """Return the most main memory this process has used; Linux counts in KiB, macOS in bytes."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def peak_accelerator_bytes() -> float:
    """Return the most accelerator memory this process has used; 0 on CPU."""
    return float(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0.0
