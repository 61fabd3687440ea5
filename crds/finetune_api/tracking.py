"""Where curves and scores of a job are kept besides: one experiment tracker, told while it trains and at its end."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from finetune_api.base import Contract
from finetune_api.fields import OBJECT_NAME_PATTERN, rule, rules

#: As WHATWG has it, without what may be a secret: user, password, query. A name, an address, or one of IPv6.
_ADDRESS = "https?://([A-Za-z0-9._-]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
Address = Annotated[
    str,
    StringConstraints(max_length=512),
    Field(
        json_schema_extra=rules(
            rule(
                f"self.matches('^{_ADDRESS}$')",
                "write http:// or https:// with a host, for example https://mlflow.example.com; user, password and "
                "token are in secretName",
            )
        )
    ),
]
TrackerSecret = Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, max_length=253)]


class MLflow(Contract):
    """A run on an MLflow tracking server."""

    uri: Address
    """Address of the server, as MLFLOW_TRACKING_URI."""
    experiment: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    """Name of the experiment; created if missing."""
    run_name: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """Name of the run; NAMESPACE/NAME of the job if absent."""
    secret_name: TrackerSecret | None = None
    """Secret of the job's namespace with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or with
    MLFLOW_TRACKING_TOKEN. Mounted as files into the track pod alone. Absent: requests are anonymous."""


class WeightsAndBiases(Contract):
    """A run of Weights & Biases."""

    project: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """Name of the project; created if missing."""
    entity: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """User or team; the default one of the key's owner if absent."""
    base_url: Address | None = None
    """Address of a server of your own, as WANDB_BASE_URL; https://api.wandb.ai if absent."""
    secret_name: TrackerSecret
    """Secret of the job's namespace with WANDB_API_KEY. Mounted as a file into the track pod alone."""


class Tracking(Contract):
    """The tracker that is told."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.mlflow) != has(self.wandb)",
                "give either mlflow or wandb; a job has one tracker",
                field=".mlflow",
            )
        )
    )

    mlflow: MLflow | None = None
    """A run on an MLflow tracking server."""
    wandb: WeightsAndBiases | None = None
    """A run of Weights & Biases."""

    @property
    def tracker(self) -> str:
        """Return which field names the tracker."""
        return "mlflow" if self.mlflow is not None else "wandb"

    @property
    def secret_name(self) -> str | None:
        """Return the Secret of the tracker, if it has one."""
        chosen = self.mlflow or self.wandb
        return None if chosen is None else chosen.secret_name
