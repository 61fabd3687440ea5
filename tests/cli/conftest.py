"""What tests of the command share with those of the trainer: a Hub over loopback, models, a job's run, and Helm."""

from tests.chart.conftest import helm
from tests.trainer.conftest import claim, hub, make_run, session_hub, small_model, text_model, tiny_model

__all__ = ["claim", "helm", "hub", "make_run", "session_hub", "small_model", "text_model", "tiny_model"]
