"""A real MLflow tracking server, for tests."""

from tests.tracker.running import Account, RunningMlflow, running_mlflow

__all__ = ["Account", "RunningMlflow", "running_mlflow"]
